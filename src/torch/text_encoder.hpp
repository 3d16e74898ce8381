// CLIP's text encoder: token ids to hidden states (Radford et al. 2021; transformers' CLIPTextModel).
#pragma once

#include "torch/config.hpp"
#include "torch/layers.hpp"

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace gf::torch {

/// What the encoder gives for a batch of prompts.
struct TextStates {
  std::vector<at::Tensor>
      hidden;       ///< hidden[0]: embeddings; hidden[i]: after layer i, before the final norm. [batch, tokens, width]
  at::Tensor last;  ///< hidden.back() after the final norm.
  at::Tensor pooled;  ///< `last` at each prompt's end token, projected where the model has a projection. [batch, width]
};

/// Immutable once its weights are read. Threads: any.
class TextEncoder {
 public:
  explicit TextEncoder(const TextConfig& config);
  TextEncoder& operator=(const TextEncoder&) = delete;
  /// Another encoder with the same weights, which it shares until they are changed.
  std::unique_ptr<TextEncoder> twin() const { return std::unique_ptr<TextEncoder>(new TextEncoder(*this)); }

  /// Again on a twin, it gives that one's layers.
  void declare(WeightList& list);
  const TextConfig& config() const { return config_; }

  /// ids: int64 [batch, tokens], each below the vocabulary's size.
  TextStates forward(const at::Tensor& ids) const;

  /// hidden state after the final norm: what Stable Diffusion 1.5 takes with CLIP skip.
  at::Tensor final_norm(const at::Tensor& hidden) const { return final_norm_.forward(hidden); }

 private:
  TextEncoder(const TextEncoder&) = default;

  struct Layer {
    LayerNorm norm1;
    Linear qkv;  // Queries, keys and values in one multiplication.
    Linear out;
    LayerNorm norm2;
    Linear up;
    Linear down;
  };

  TextConfig config_;
  at::Tensor tokens_;     // [vocabulary, hidden]
  at::Tensor positions_;  // [positions, hidden]
  std::vector<Layer> layers_;
  LayerNorm final_norm_;
  Linear projection_;
};

}  // namespace gf::torch
