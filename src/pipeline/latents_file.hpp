// Latents files: one tensor `latents` in a safetensors file, as `--init-latents` takes and `--save-latents` gives.
#pragma once

#include "base/result.hpp"

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace gf::pipeline {

/// Images, channels, height, width; each 1 to 2^31 - 1.
using LatentsShape = std::array<std::uint32_t, 4>;

/// Float32 [images, channels, height / f, width / f], f the VAE's factor, C order.
struct Latents {
  LatentsShape shape{};
  std::vector<float> values;
};

/// The shape alone; the header is checked, the values are not read.
/// Errors: not_found, unauthorised, io_error; corrupt_file; unsupported_format when it holds no tensor `latents`, or
/// one that is not of four dimensions and float32, float16 or bfloat16.
Result<LatentsShape> read_latents_shape(const std::string& path);

/// Shape and values; half precision is widened exactly.
/// Errors: those of read_latents_shape.
Result<Latents> read_latents(const std::string& path);

/// Writes a latents file, whole or not at all.
/// Errors: invalid_argument when a length is 0 or the shape does not fit the values; those of write_whole.
Result<void> write_latents(const std::string& path, std::span<const float> values, const LatentsShape& shape);

}  // namespace gf::pipeline
