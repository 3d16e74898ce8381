// NVIDIA's management library: total and free memory of every card, and which process holds what.
#pragma once

#include "cache/memory_source.hpp"

#include <memory>
#include <string>

namespace gf::cache {

/// Opens libnvidia-ml at run time, so that nothing is linked and a machine without a card is no error of the build. The
/// functions and structs are those of NVML's reference manual (nvmlDeviceGetMemoryInfo and so on), whose names with a
/// version keep their layout.
class NvmlSource final : public MemorySource {
 public:
  /// path: empty for the system's. Errors: not_found (no such library); unsupported (a symbol is missing); device_lost
  /// (it is there and does not start), each with its own words.
  static Result<std::shared_ptr<NvmlSource>> open(const std::string& path = {});
  ~NvmlSource() override;

  std::string name() const override { return "nvml"; }
  std::uint32_t device_count() const override;
  std::string device_name(std::uint32_t index) const override;
  Result<DeviceMemory> read(std::uint32_t index) const override;

 private:
  struct Api;
  explicit NvmlSource(std::unique_ptr<Api> api);
  const std::unique_ptr<Api> api_;
};

}  // namespace gf::cache
