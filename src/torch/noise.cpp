#include "torch/noise.hpp"

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>
#include <numbers>

namespace gf::torch {
namespace {

constexpr std::array<std::uint32_t, 2> multipliers = {0xD2511F53, 0xCD9E8D57};
constexpr std::array<std::uint32_t, 2> key_steps = {0x9E3779B9, 0xBB67AE85};
constexpr int rounds = 10;

}  // namespace

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < rounds; ++round) {
    const auto first = std::uint64_t{counter[0]} * multipliers[0];
    const auto second = std::uint64_t{counter[2]} * multipliers[1];
    counter = {static_cast<std::uint32_t>(second >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(second),
               static_cast<std::uint32_t>(first >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(first)};
    key[0] += key_steps[0];
    key[1] += key_steps[1];
  }
  return counter;
}

Noise::Noise(NoiseKind kind, std::uint64_t seed) : kind_(kind), seed_(seed) {
  if (kind == NoiseKind::torch_cpu) generator_ = at::make_generator<at::CPUGeneratorImpl>(seed);
}

at::Tensor Noise::draw(at::IntArrayRef sizes) {
  const auto options = at::TensorOptions().dtype(at::kFloat);
  if (kind_ == NoiseKind::torch_cpu) return at::randn(sizes, generator_, options);
  auto out = at::empty(sizes, options);
  auto* values = out.data_ptr<float>();
  const std::array<std::uint32_t, 2> key = {static_cast<std::uint32_t>(seed_), static_cast<std::uint32_t>(seed_ >> 32)};
  for (std::int64_t i = 0; i < out.numel(); ++i) {
    const auto words = philox({calls_, 0, static_cast<std::uint32_t>(i), 0}, key);
    // Box and Muller, as curand_normal has it; of its pair the first.
    constexpr float unit = 0x1p-32F;
    constexpr float turn = unit * 2 * std::numbers::pi_v<float>;
    const auto u = static_cast<float>(words[0]) * unit + unit / 2;
    const auto angle = static_cast<float>(words[1]) * turn + turn / 2;
    values[i] = std::sqrt(-2 * std::log(u)) * std::sin(angle);
  }
  ++calls_;
  return out;
}

}  // namespace gf::torch
