// Normal numbers of a seed: PyTorch's CPU generator, or what PyTorch draws on a CUDA device, computed here.
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <cstdint>

namespace gf::torch {

enum class NoiseKind : std::uint32_t {
  torch_cpu = 0,  ///< at::randn of a CPU generator: diffusers' pictures from a CPU generator.
  philox = 1,     ///< torch.randn on a CUDA device, for tensors whose every value has a thread of its own ("nv" noise).
};

/// Philox4x32-10 (Salmon et al. 2011): the four words of a counter under a key.
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

/// One image's source. Not synchronised.
class Noise {
 public:
  Noise(NoiseKind kind, std::uint64_t seed);

  /// Standard normal, float32. Each call draws further.
  at::Tensor draw(at::IntArrayRef sizes);

 private:
  NoiseKind kind_;
  std::uint64_t seed_;
  std::uint32_t calls_ = 0;  // Philox: every call counts on by one.
  at::Generator generator_;
};

}  // namespace gf::torch
