// Latents files at the ABI.
#include "buffers.hpp"
#include "firewall.hpp"
#include "objects.hpp"
#include "pipeline/latents_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>

using gf::Error;
using gf::Result;
using gf::Status;
using gf::pipeline::LatentsShape;
using namespace gf::capi;

namespace {

/// Values of a shape. Errors: invalid_argument when no memory could hold them, or a length is 0.
Result<std::uint64_t> value_count(const LatentsShape& shape) {
  std::uint64_t count = 1;
  for (const auto length : shape) {
    if (length == 0 || count > std::numeric_limits<std::int64_t>::max() / sizeof(float) / length) {
      return Error{Status::invalid_argument,
                   fmt::format("shape is [{}, {}, {}, {}]; each length must be at least 1, and all values must fit "
                               "into memory",
                               shape[0], shape[1], shape[2], shape[3]),
                   {}};
    }
    count *= length;
  }
  return count;
}

}  // namespace

extern "C" {

gf_status gf_latents_read(const char* path, float* buffer, uint64_t* count, uint32_t shape[4]) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto text, needed_text(path, "path"));
    GF_TRYV(check_size(count, "count"));
    if (shape == nullptr) return Error{Status::invalid_argument, "shape is NULL", {}};
    const std::string file(text);
    // The shape first, so that a question or a short buffer does not cost the reading of the values.
    GF_TRY(auto found, gf::pipeline::read_latents_shape(file));
    GF_TRY(auto needed, value_count(found));
    gf::pipeline::Latents latents;
    if (buffer != nullptr && *count >= needed) {
      GF_TRY(latents, gf::pipeline::read_latents(file));
      found = latents.shape;  // Of the same reading as the values: the file may have been replaced in between.
      needed = latents.values.size();
    }
    std::copy(found.begin(), found.end(), shape);
    return fill_buffer(needed, buffer, count, "values", [&](float* to) {
      std::memcpy(to, latents.values.data(), latents.values.size() * sizeof(float));
    });
  });
}

gf_status gf_latents_write(const char* path, const float* values, const uint32_t shape[4]) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto text, needed_text(path, "path"));
    if (values == nullptr) return Error{Status::invalid_argument, "values is NULL", {}};
    if (shape == nullptr) return Error{Status::invalid_argument, "shape is NULL", {}};
    const LatentsShape lengths{shape[0], shape[1], shape[2], shape[3]};
    GF_TRY(const auto count, value_count(lengths));
    return gf::pipeline::write_latents(std::string(text), {values, count}, lengths);
  });
}

}  // extern "C"
