#include "cache/cuda_source.hpp"

#include "cache/shared_object.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <utility>
#include <vector>

namespace gf::cache {

struct CudaSource::Api {
  explicit Api(SharedObject opened) : library(std::move(opened)) {}

  SharedObject library;
  int (*count)(int*) = nullptr;
  int (*current)(int*) = nullptr;
  int (*select)(int) = nullptr;
  int (*memory)(std::size_t* free, std::size_t* total) = nullptr;
  int (*clear_error)() = nullptr;
  const char* (*error_string)(int) = nullptr;
  int cards = 0;

  Error error(int code, std::string_view what) const {
    (void)clear_error();  // Else the next call of anybody on this thread would be told of it.
    const char* words = error_string(code);
    return {Status::device_lost,
            fmt::format("{}: CUDA says {} ({})", what, words == nullptr ? "nothing" : words, code),
            {}};
  }
};

CudaSource::CudaSource(std::unique_ptr<Api> api) : api_(std::move(api)) {}
CudaSource::~CudaSource() = default;

Result<std::shared_ptr<CudaSource>> CudaSource::open(const std::string& path) {
  const std::vector<std::string> names =
      path.empty() ? std::vector<std::string>{"libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0"}
                   : std::vector<std::string>{path};
  GF_TRY(auto library, SharedObject::open(names));
  auto api = std::make_unique<Api>(std::move(library));
  const auto& from = api->library;
  SharedObject::Lookup need(from);
  need("cudaGetDeviceCount", api->count);
  need("cudaGetDevice", api->current);
  need("cudaSetDevice", api->select);
  need("cudaMemGetInfo", api->memory);
  need("cudaGetLastError", api->clear_error);
  need("cudaGetErrorString", api->error_string);
  GF_TRYV(need.complete());
  if (const int code = api->count(&api->cards); code != 0) return api->error(code, "cudaGetDeviceCount");
  if (api->cards <= 0) return Error{Status::not_found, fmt::format("{} finds no card", from.name()), {}};
  return std::shared_ptr<CudaSource>(new CudaSource(std::move(api)));
}

std::uint32_t CudaSource::device_count() const { return static_cast<std::uint32_t>(api_->cards); }

std::string CudaSource::device_name(std::uint32_t index) const { return fmt::format("cuda:{}", index); }

Result<DeviceMemory> CudaSource::read(std::uint32_t index) const {
  if (index >= device_count()) {
    return Error{Status::invalid_argument, fmt::format("card {} of {}", index, api_->cards), {}};
  }
  // The current card is the calling thread's, and the host's if it is one of its threads: it is put back.
  int before = 0;
  if (const int code = api_->current(&before); code != 0) return api_->error(code, "cudaGetDevice");
  if (const int code = api_->select(static_cast<int>(index)); code != 0) {
    return api_->error(code, fmt::format("card {}", index));
  }
  std::size_t free = 0;
  std::size_t total = 0;
  const int code = api_->memory(&free, &total);
  (void)api_->select(before);
  if (code != 0) return api_->error(code, fmt::format("memory of card {}", index));
  return DeviceMemory{total, free, {}};
}

}  // namespace gf::cache
