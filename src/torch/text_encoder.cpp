#include "torch/text_encoder.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace gf::torch {

TextEncoder::TextEncoder(const TextConfig& config)
    : config_(config), layers_(static_cast<std::size_t>(config.layers)) {}

void TextEncoder::declare(WeightList& list) {
  const auto width = config_.hidden;
  list.add("text_model.embeddings.token_embedding.weight", {config_.vocabulary, width}, &tokens_);
  list.add("text_model.embeddings.position_embedding.weight", {config_.positions, width}, &positions_);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    auto& layer = layers_[i];
    const auto name = fmt::format("text_model.encoder.layers.{}.", i);
    layer.norm1.declare(list, name + "layer_norm1", width, config_.norm_eps);
    list.add_stacked({{name + "self_attn.q_proj.weight", width},
                      {name + "self_attn.k_proj.weight", width},
                      {name + "self_attn.v_proj.weight", width}},
                     {width}, static_cast<Packable*>(&layer.qkv));
    list.add_stacked({{name + "self_attn.q_proj.bias", width},
                      {name + "self_attn.k_proj.bias", width},
                      {name + "self_attn.v_proj.bias", width}},
                     {}, &layer.qkv.bias);
    layer.out.declare(list, name + "self_attn.out_proj", width, width);
    layer.norm2.declare(list, name + "layer_norm2", width, config_.norm_eps);
    layer.up.declare(list, name + "mlp.fc1", width, config_.intermediate);
    layer.down.declare(list, name + "mlp.fc2", config_.intermediate, width);
  }
  final_norm_.declare(list, "text_model.final_layer_norm", width, config_.norm_eps);
  if (config_.projection != 0) projection_.declare(list, "text_projection", width, config_.projection, false);
  // transformers 5 writes the names without their first part; old files carry the positions 0 to 76 as a tensor.
  list.allow_prefix("text_model.", "");
  list.ignore("embeddings.position_ids");
}

TextStates TextEncoder::forward(const at::Tensor& ids) const {
  TextStates states;
  auto x = at::embedding(tokens_, ids) + positions_.narrow(0, 0, ids.size(1));
  states.hidden.push_back(x);
  for (const auto& layer : layers_) {
    const auto qkv = layer.qkv.forward(layer.norm1.forward(x)).chunk(3, -1);
    x = x + layer.out.forward(attend(qkv[0], qkv[1], qkv[2], config_.heads, true));
    auto inner = layer.up.forward(layer.norm2.forward(x));
    inner = config_.quick_gelu ? inner * at::sigmoid(inner * 1.702) : at::gelu(inner);
    x = x + layer.down.forward(inner);
    states.hidden.push_back(x);
  }
  states.last = final_norm_.forward(x);
  // Files from before the end token was written down have 2 there; then the largest id of a prompt is its first end
  // token.
  const auto ends = config_.end_token == 2 ? ids.argmax(-1) : ids.eq(config_.end_token).to(at::kInt).argmax(-1);
  states.pooled = states.last.index({at::arange(ids.size(0)), ends});
  if (projection_.weight.defined()) states.pooled = projection_.forward(states.pooled);
  return states;
}

}  // namespace gf::torch
