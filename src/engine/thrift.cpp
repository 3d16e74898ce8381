#include "engine/thrift.hpp"

#include "pipeline/backend_abi.h"

#include <string_view>

namespace gf::engine {
namespace {

class ThriftRung final : public cache::LadderRung {
 public:
  ThriftRung(std::string_view name, std::uint32_t bit, bool changes_pixels)
      : name_(name), bit_(bit), changes_pixels_(changes_pixels) {}
  std::string_view name() const override { return name_; }
  bool changes_pixels() const override { return changes_pixels_; }
  bool changes_plan() const override { return true; }
  bool climb(const cache::LadderRequest&, const cache::Shortage& shortage, void* plan) override {
    // Tiles hold fewer bytes in the decode alone. A job that begins with its plan has no stage yet.
    const bool is_of_use = bit_ != GF_BACKEND_THRIFT_TILES || shortage.stage == cache::MemoryStage::decoding ||
                           shortage.stage == cache::MemoryStage::none;
    if (plan == nullptr || !is_of_use) return false;
    return (static_cast<JobPlan*>(plan)->thrift.fetch_or(bit_) & bit_) == 0;
  }

 private:
  const std::string_view name_;
  const std::uint32_t bit_;
  const bool changes_pixels_;
};

}  // namespace

std::vector<std::unique_ptr<cache::LadderRung>> make_thrift_rungs() {
  std::vector<std::unique_ptr<cache::LadderRung>> rungs;
  rungs.push_back(std::make_unique<ThriftRung>(cache::rung_offload_parts, GF_BACKEND_THRIFT_PARTS, false));
  rungs.push_back(std::make_unique<ThriftRung>(cache::rung_tile_vae, GF_BACKEND_THRIFT_TILES, true));
  return rungs;
}

}  // namespace gf::engine
