// The layers that the networks are made of: weights with a forward pass, nothing else. Activations are float32 with
// channels last: [batch, channels, height, width] in NHWC memory, so that tokens [batch, height * width, channels] are
// a view.
#pragma once

#include "torch/weights.hpp"

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

namespace gf::torch {

/// Sides on which a picture goes on with its opposite side, so that it can be tiled.
struct Wrap {
  bool x = false;  ///< Left and right.
  bool y = false;  ///< Top and bottom.
  bool any() const { return x || y; }
};

/// x with so many rows and columns more around it: of the opposite side where it wraps, else zeros. Channels last.
at::Tensor pad_around(const at::Tensor& x, std::int64_t top, std::int64_t bottom, std::int64_t left, std::int64_t right,
                      Wrap wrap);

/// y = x W^T + b. After pack() the weight may lie in oneDNN's blocked form, which multiplies up to twice as fast as the
/// plain one on processors where MKL is not at the machine's peak; it costs about 10 us a call more, so it is chosen by
/// size.
struct Linear : Packable {  // Its weight is [out, in].
  at::Tensor bias;          // [out], or undefined.

  void declare(WeightList& list, const std::string& name, std::int64_t in, std::int64_t out, bool with_bias = true);
  /// `rows`: how many rows x is expected to have; any number works afterwards.
  void pack(std::int64_t rows);
  /// x: [..., in].
  at::Tensor forward(const at::Tensor& x) const;
  /// gelu(forward(x)), exact.
  at::Tensor forward_gelu(const at::Tensor& x) const;
};

/// A convolution. After pack() a small weight lies in the blocked form that oneDNN picks for the expected size of
/// input; an input of another size is computed from the weight unpacked again, and one that wraps from the blocked form
/// reordered where need be: slower but the same.
struct Conv : Packable {  // Its weight is [out, in, size, size], channels last.
  at::Tensor bias;        // [out]
  std::int64_t stride = 1;
  std::int64_t padding = 1;

  void declare(WeightList& list, const std::string& name, std::int64_t in, std::int64_t out, std::int64_t size = 3,
               std::int64_t with_stride = 1);
  void pack(std::int64_t batch, std::int64_t height, std::int64_t width);
  at::Tensor forward(const at::Tensor& x, Wrap wrap = {}) const;

 private:
  std::vector<std::int64_t> packed_for_;  // Batch, height and width of the expected input.
};

/// Group normalisation, Wu and He 2018.
struct GroupNorm {
  at::Tensor weight;
  at::Tensor bias;
  std::int64_t groups = 32;
  double eps = 1e-5;

  void declare(WeightList& list, const std::string& name, std::int64_t channels, std::int64_t group_count,
               double with_eps);
  at::Tensor forward(const at::Tensor& x) const;
  /// silu(forward(x)).
  at::Tensor forward_silu(const at::Tensor& x) const;
};

struct LayerNorm {
  at::Tensor weight;
  at::Tensor bias;
  double eps = 1e-5;

  void declare(WeightList& list, const std::string& name, std::int64_t width, double with_eps);
  /// x: [..., width].
  at::Tensor forward(const at::Tensor& x) const;
};

/// ResnetBlock2D of diffusers: two convolutions with group norms, a shortcut, and where the network knows time an
/// offset per channel between them.
struct ResnetBlock {
  GroupNorm norm1;
  Conv conv1;
  GroupNorm norm2;
  Conv conv2;
  Conv shortcut;  // Undefined where the channels stay the same.

  void declare(WeightList& list, const std::string& name, std::int64_t in, std::int64_t out, std::int64_t groups,
               double eps);
  void pack(std::int64_t batch, std::int64_t height, std::int64_t width);
  /// offset: [batch, out], or undefined.
  at::Tensor forward(const at::Tensor& x, const at::Tensor& offset, Wrap wrap = {}) const;
};

/// [batch, channels, height, width] as [batch, height * width, channels], and back. Views of channels-last memory.
at::Tensor to_tokens(const at::Tensor& x);
at::Tensor from_tokens(const at::Tensor& tokens, std::int64_t height, std::int64_t width);

/// Softmax attention of q [batch, n, width] on k and v [batch, m, width], split into heads.
at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, std::int64_t heads,
                  bool causal = false);

/// Sinusoidal embedding of `t` [n], float32: [n, width] (Vaswani et al. 2017, section 3.5; diffusers
/// get_timestep_embedding).
at::Tensor sinusoidal(const at::Tensor& t, std::int64_t width, bool flip_sin_to_cos, double freq_shift);

}  // namespace gf::torch
