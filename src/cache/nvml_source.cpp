#include "cache/nvml_source.hpp"

#include "base/platform_wait.hpp"
#include "cache/shared_object.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

namespace gf::cache {
namespace {

// NVML's own names and layouts (NVML API Reference Guide, "Device Structs" and "Device Queries").
using NvmlDevice = void*;
constexpr int nvml_success = 0;
struct NvmlMemory {  // nvmlMemory_t.
  unsigned long long total;
  unsigned long long free;
  unsigned long long used;
};
struct NvmlProcess {  // nvmlProcessInfo_t of the functions that end in _v3.
  unsigned int pid;
  unsigned long long used_memory;  // All bits set: not told.
  unsigned int gpu_instance;
  unsigned int compute_instance;
};
static_assert(sizeof(NvmlMemory) == 24 && sizeof(NvmlProcess) == 24);
constexpr unsigned long long not_told = ~0ULL;
/// Processes that are looked at. With more than these on a card our own part is not told.
constexpr std::size_t most_processes = 128;

}  // namespace

struct NvmlSource::Api {
  explicit Api(SharedObject opened) : library(std::move(opened)) {}

  SharedObject library;
  int (*init)() = nullptr;
  int (*shutdown)() = nullptr;
  const char* (*error_string)(int) = nullptr;
  int (*count)(unsigned int*) = nullptr;
  int (*handle)(unsigned int, NvmlDevice*) = nullptr;
  int (*device_name)(NvmlDevice, char*, unsigned int) = nullptr;
  int (*memory)(NvmlDevice, NvmlMemory*) = nullptr;
  int (*processes)(NvmlDevice, unsigned int*, NvmlProcess*) = nullptr;           // May be missing.
  int (*graphics_processes)(NvmlDevice, unsigned int*, NvmlProcess*) = nullptr;  // May be missing.
  std::vector<NvmlDevice> devices;

  Error error(int code, std::string_view what) const {
    const char* words = error_string(code);
    return {Status::device_lost,
            fmt::format("{}: NVML says {} ({})", what, words == nullptr ? "nothing" : words, code),
            {}};
  }

  /// What the process `pid` holds; nothing where the list does not tell.
  static std::optional<std::uint64_t> held_by(std::int64_t pid, NvmlDevice device,
                                              int (*list)(NvmlDevice, unsigned int*, NvmlProcess*)) {
    if (list == nullptr) return std::nullopt;
    std::array<NvmlProcess, most_processes> found{};
    unsigned int count = most_processes;
    if (list(device, &count, found.data()) != nvml_success || count > most_processes) return std::nullopt;
    for (unsigned int at = 0; at < count; ++at) {
      if (std::int64_t{found[at].pid} == pid && found[at].used_memory != not_told) return found[at].used_memory;
    }
    return std::nullopt;
  }
};

NvmlSource::NvmlSource(std::unique_ptr<Api> api) : api_(std::move(api)) {}

NvmlSource::~NvmlSource() { (void)api_->shutdown(); }

Result<std::shared_ptr<NvmlSource>> NvmlSource::open(const std::string& path) {
  const std::vector<std::string> names =
      path.empty() ? std::vector<std::string>{"libnvidia-ml.so.1"} : std::vector<std::string>{path};
  GF_TRY(auto library, SharedObject::open(names));
  auto api = std::make_unique<Api>(std::move(library));
  const auto& from = api->library;
  SharedObject::Lookup need(from);
  need("nvmlInit_v2", api->init);
  need("nvmlShutdown", api->shutdown);
  need("nvmlErrorString", api->error_string);
  need("nvmlDeviceGetCount_v2", api->count);
  need("nvmlDeviceGetHandleByIndex_v2", api->handle);
  need("nvmlDeviceGetName", api->device_name);
  need("nvmlDeviceGetMemoryInfo", api->memory);
  GF_TRYV(need.complete());
  (void)from.find("nvmlDeviceGetComputeRunningProcesses_v3", api->processes);
  (void)from.find("nvmlDeviceGetGraphicsRunningProcesses_v3", api->graphics_processes);
  if (const int code = api->init(); code != nvml_success) return api->error(code, "nvmlInit");
  // From here on its destructor shuts down.
  std::shared_ptr<NvmlSource> source(new NvmlSource(std::move(api)));
  auto& started = *source->api_;
  unsigned int count = 0;
  if (const int code = started.count(&count); code != nvml_success) return started.error(code, "nvmlDeviceGetCount");
  for (unsigned int index = 0; index < count; ++index) {
    NvmlDevice device = nullptr;
    if (const int code = started.handle(index, &device); code != nvml_success) {
      return started.error(code, fmt::format("card {}", index));
    }
    started.devices.push_back(device);
  }
  return source;
}

std::uint32_t NvmlSource::device_count() const { return static_cast<std::uint32_t>(api_->devices.size()); }

std::string NvmlSource::device_name(std::uint32_t index) const {
  char text[96] = {};  // NVML_DEVICE_NAME_V2_BUFFER_SIZE.
  if (index >= api_->devices.size() || api_->device_name(api_->devices[index], text, sizeof text) != nvml_success) {
    return {};
  }
  text[sizeof text - 1] = '\0';
  return text;
}

Result<DeviceMemory> NvmlSource::read(std::uint32_t index) const {
  if (index >= api_->devices.size()) {
    return Error{Status::invalid_argument, fmt::format("card {} of {}", index, api_->devices.size()), {}};
  }
  const auto device = api_->devices[index];
  NvmlMemory memory{};
  if (const int code = api_->memory(device, &memory); code != nvml_success) {
    return api_->error(code, fmt::format("memory of card {}", index));
  }
  DeviceMemory out{memory.total, memory.free, {}};
  const auto pid = process_number();
  const auto computing = Api::held_by(pid, device, api_->processes);
  const auto drawing = Api::held_by(pid, device, api_->graphics_processes);
  // A process that does both is in both lists, with the same sum.
  if (computing || drawing) out.used_by_us = std::max(computing.value_or(0), drawing.value_or(0));
  return out;
}

}  // namespace gf::cache
