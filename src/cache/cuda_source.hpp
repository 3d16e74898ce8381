// The CUDA runtime's numbers of a card, for machines whose driver has no management library.
#pragma once

#include "cache/memory_source.hpp"

#include <memory>
#include <string>

namespace gf::cache {

/// Opens libcudart at run time. To ask it for free memory makes a context on the card, which takes some hundred MB, so
/// it serves only a process that computes there anyway; NvmlSource comes first. Functions as the CUDA Runtime API
/// reference has them.
class CudaSource final : public MemorySource {
 public:
  /// path: empty for the names of the toolkits 11 to 13. Errors: as NvmlSource::open's; not_found also where there is
  /// no card.
  static Result<std::shared_ptr<CudaSource>> open(const std::string& path = {});
  ~CudaSource() override;

  std::string name() const override { return "cuda"; }
  std::uint32_t device_count() const override;
  std::string device_name(std::uint32_t index) const override;
  Result<DeviceMemory> read(std::uint32_t index) const override;

 private:
  struct Api;
  explicit CudaSource(std::unique_ptr<Api> api);
  const std::unique_ptr<Api> api_;
};

}  // namespace gf::cache
