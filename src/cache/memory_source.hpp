// Where numbers about a device's memory come from: the driver, the runtime, the system. One interface over them all.
#pragma once

#include "base/result.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace gf::cache {

/// A device's memory as somebody outside of us sees it, bytes.
struct DeviceMemory {
  std::uint64_t total = 0;
  std::uint64_t free = 0;
  std::optional<std::uint64_t> used_by_us;  ///< By this process, where the source can tell.
};

/// Threads: any, for every function. A source that is not there is not made; one that fails later says so each time.
class MemorySource {
 public:
  virtual ~MemorySource() = default;
  virtual std::string name() const = 0;
  /// Its devices, in its own order.
  virtual std::uint32_t device_count() const = 0;
  virtual std::string device_name(std::uint32_t index) const = 0;
  /// Errors: device_lost; invalid_argument (no such index); io_error; each with the source's own words.
  virtual Result<DeviceMemory> read(std::uint32_t index) const = 0;
};

/// What the backend's allocator keeps of a device, which the driver cannot tell from what is in use.
struct AllocatorStatistics {
  std::uint64_t allocated = 0;           ///< Bytes in tensors that live.
  std::uint64_t cached = 0;              ///< Bytes that it took from the device and has free.
  std::uint64_t largest_free_block = 0;  ///< Of cached.
};

}  // namespace gf::cache
