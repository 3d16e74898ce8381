#include "pipeline/latents_file.hpp"

#include "base/safetensors.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <limits>
#include <utility>

namespace gf::pipeline {
namespace {

constexpr std::string_view tensor_name = "latents";

Result<LatentsShape> shape_of(const Safetensors& file, const std::string& path) {
  const auto unsupported = [&](std::string what) {
    return Error{
        Status::unsupported_format,
        fmt::format("{}: {}; a latents file holds one tensor `latents`, float32 [images, channels, height, width]",
                    path, what),
        {}};
  };
  const auto* entry = file.find(tensor_name);
  if (entry == nullptr) {
    return unsupported(file.tensors().empty() ? std::string("it holds no tensor")
                                              : fmt::format("it holds `{}`", file.tensors().begin()->first));
  }
  if (entry->type != TensorType::f32 && entry->type != TensorType::f16 && entry->type != TensorType::bf16) {
    return unsupported(fmt::format("the values of `latents` are {}", name_of(entry->type)));
  }
  LatentsShape shape{};
  if (entry->shape.size() != shape.size()) return unsupported(fmt::format("`latents` is {}", shape_text(entry->shape)));
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (entry->shape[i] < 1 || entry->shape[i] > std::numeric_limits<std::int32_t>::max()) {
      return unsupported(fmt::format("`latents` is {}", shape_text(entry->shape)));
    }
    shape[i] = static_cast<std::uint32_t>(entry->shape[i]);
  }
  return shape;
}

}  // namespace

Result<LatentsShape> read_latents_shape(const std::string& path) {
  GF_TRY(const auto file, Safetensors::open(path));
  return shape_of(file, path);
}

Result<Latents> read_latents(const std::string& path) {
  GF_TRY(const auto file, Safetensors::open(path));
  GF_TRY(const auto shape, shape_of(file, path));
  GF_TRY(auto values, file.read_floats(tensor_name));
  return Latents{shape, std::move(values)};
}

Result<void> write_latents(const std::string& path, std::span<const float> values, const LatentsShape& shape) {
  std::size_t left = values.size();
  for (const auto length : shape) {
    // Dividing instead of multiplying: the product of four lengths may pass 64 bits.
    if (length == 0 || left % length != 0) left = 0;
    if (left != 0) left /= length;
  }
  if (left != 1) {
    return Error{Status::invalid_argument,
                 fmt::format("shape is [{}, {}, {}, {}], which is not that of {} values", shape[0], shape[1], shape[2],
                             shape[3], values.size()),
                 {}};
  }
  const NamedFloats tensor{std::string(tensor_name), {shape[0], shape[1], shape[2], shape[3]}, values};
  return write_safetensors(path, std::span(&tensor, 1));
}

}  // namespace gf::pipeline
