// The machine's own memory, as the kernel and the control groups around this process let it be used.
#pragma once

#include "cache/memory_source.hpp"

#include <memory>
#include <string>

namespace gf::cache {

/// One device, the host: /proc/meminfo, and memory.max, memory.current and memory.stat of each control group (version
/// 2) from this process's up to the root: the tightest counts. Clean file pages count as free, as in MemAvailable.
class HostSource final : public MemorySource {
 public:
  /// The folders are parameters for tests. Errors: io_error or unsupported_format when meminfo cannot be read.
  static Result<std::shared_ptr<HostSource>> open(const std::string& proc = "/proc",
                                                  const std::string& cgroup = "/sys/fs/cgroup");
  ~HostSource() override;

  std::string name() const override { return "host"; }
  std::uint32_t device_count() const override { return 1; }
  std::string device_name(std::uint32_t) const override { return "host"; }
  Result<DeviceMemory> read(std::uint32_t index) const override;

  /// Groups with a limit that can be read.
  std::uint32_t group_count() const;

 private:
  struct Files;
  explicit HostSource(std::unique_ptr<Files> files);
  const std::unique_ptr<Files> files_;
};

}  // namespace gf::cache
