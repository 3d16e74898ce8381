#include "torch/layers.hpp"

#include <cmath>

namespace gf::torch {

void Linear::declare(WeightList& list, const std::string& name, std::int64_t in, std::int64_t out, bool with_bias) {
  list.add(name + ".weight", {out, in}, &weight);
  if (with_bias) list.add(name + ".bias", {out}, &bias);
}

void Conv::declare(WeightList& list, const std::string& name, std::int64_t in, std::int64_t out, std::int64_t size,
                   std::int64_t with_stride) {
  stride = with_stride;
  padding = size / 2;
  list.add(name + ".weight", {out, in, size, size}, &weight, Layout::channels_last);
  list.add(name + ".bias", {out}, &bias);
}

at::Tensor Conv::forward(const at::Tensor& x) const {
  return at::conv2d(x, weight, bias, {stride, stride}, {padding, padding});
}

void GroupNorm::declare(WeightList& list, const std::string& name, std::int64_t channels, std::int64_t group_count,
                        double with_eps) {
  groups = group_count;
  eps = with_eps;
  list.add(name + ".weight", {channels}, &weight);
  list.add(name + ".bias", {channels}, &bias);
}

at::Tensor GroupNorm::forward(const at::Tensor& x) const { return at::group_norm(x, groups, weight, bias, eps); }

at::Tensor GroupNorm::forward_silu(const at::Tensor& x) const {
  auto y = at::group_norm(x, groups, weight, bias, eps);
  return at::silu_(y);
}

void LayerNorm::declare(WeightList& list, const std::string& name, std::int64_t width, double with_eps) {
  eps = with_eps;
  list.add(name + ".weight", {width}, &weight);
  list.add(name + ".bias", {width}, &bias);
}

at::Tensor LayerNorm::forward(const at::Tensor& x) const {
  return at::layer_norm(x, weight.sizes(), weight, bias, eps);
}

void ResnetBlock::declare(WeightList& list, const std::string& name, std::int64_t in, std::int64_t out,
                          std::int64_t groups, double eps) {
  norm1.declare(list, name + ".norm1", in, groups, eps);
  conv1.declare(list, name + ".conv1", in, out);
  norm2.declare(list, name + ".norm2", out, groups, eps);
  conv2.declare(list, name + ".conv2", out, out);
  if (in != out) shortcut.declare(list, name + ".conv_shortcut", in, out, 1);
}

at::Tensor ResnetBlock::forward(const at::Tensor& x, const at::Tensor& offset) const {
  auto hidden = conv1.forward(norm1.forward_silu(x));
  if (offset.defined()) hidden.add_(offset.unsqueeze(-1).unsqueeze(-1));
  hidden = conv2.forward(norm2.forward_silu(hidden));
  return hidden.add_(shortcut.weight.defined() ? shortcut.forward(x) : x);
}

at::Tensor to_tokens(const at::Tensor& x) {
  return x.permute({0, 2, 3, 1}).reshape({x.size(0), x.size(2) * x.size(3), x.size(1)});
}

at::Tensor from_tokens(const at::Tensor& tokens, std::int64_t height, std::int64_t width) {
  return tokens.reshape({tokens.size(0), height, width, tokens.size(2)}).permute({0, 3, 1, 2});
}

at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, std::int64_t heads, bool causal) {
  const auto split = [heads](const at::Tensor& x) {
    return x.view({x.size(0), x.size(1), heads, x.size(2) / heads}).transpose(1, 2);
  };
  const auto mixed = at::scaled_dot_product_attention(split(q), split(k), split(v), {}, 0.0, causal);
  return mixed.transpose(1, 2).reshape({q.size(0), q.size(1), q.size(2)});
}

at::Tensor sinusoidal(const at::Tensor& t, std::int64_t width, bool flip_sin_to_cos, double freq_shift) {
  const auto half = width / 2;
  auto exponent = at::arange(0, half, at::TensorOptions().dtype(at::kFloat)) * -std::log(10000.0);
  exponent = exponent / (static_cast<double>(half) - freq_shift);
  const auto angles = t.to(at::kFloat).unsqueeze(-1) * exponent.exp().unsqueeze(0);
  auto embedding =
      flip_sin_to_cos ? at::cat({angles.cos(), angles.sin()}, -1) : at::cat({angles.sin(), angles.cos()}, -1);
  if (width % 2 == 1) embedding = at::constant_pad_nd(embedding, {0, 1});
  return embedding;
}

}  // namespace gf::torch
