// UNet2DConditionModel: the denoiser of Stable Diffusion 1.5, 2 and XL (Rombach et al. 2022, Podell et al. 2023).
#pragma once

#include "torch/config.hpp"
#include "torch/layers.hpp"

#include <ATen/ATen.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace gf::torch {

/// What does not change over the steps of a run, computed once: the prompt's keys and values of every cross attention.
struct UnetContext {
  struct KeysValues {
    at::Tensor keys;    // [batch, heads, tokens, width]
    at::Tensor values;  // As keys.
  };
  /// In the order in which the forward pass meets them. Each: one for the whole batch, or one for each of two samples
  /// whose prompts are of different lengths.
  std::vector<std::vector<KeysValues>> blocks;
};

/// What depends on the step but not on the latents, for all steps of a run: each resnet's offset per channel.
struct UnetTimes {
  at::Tensor offsets;  ///< [steps, batch, sum of the resnets' channels]
};

/// Immutable once its weights are read. Threads: any.
class Unet {
 public:
  explicit Unet(const UnetConfig& config);
  /// Another network with the same weights, which it shares until they are changed.
  std::unique_ptr<Unet> twin() const { return std::unique_ptr<Unet>(new Unet(*this)); }
  Unet& operator=(const Unet&) = delete;

  /// Again on a twin, it gives that one's layers.
  void declare(WeightList& list);
  const UnetConfig& config() const { return config_; }

  /// Lays the weights out for a batch of two (guidance) of latents of this size; others stay possible. Once, after the
  /// weights were read.
  void pack(std::int64_t height, std::int64_t width);

  /// embeddings: [batch, tokens, cross_attention]; or two of a batch of 1, whose tokens may differ in number.
  UnetContext context(const std::vector<at::Tensor>& embeddings) const;

  /// timesteps: [steps]. pooled: [batch, text width] and sizes: [batch, 6] where the config has text_time; else
  /// undefined.
  UnetTimes times(const at::Tensor& timesteps, const at::Tensor& pooled, const at::Tensor& sizes,
                  std::int64_t batch) const;

  /// sample: [batch, in_channels, h, w], of any size: latents already scaled by the sampler. Result: [batch,
  /// out_channels, h, w]. Sides that wrap can be halved as often as there are levels below the first.
  at::Tensor forward(const at::Tensor& sample, const UnetTimes& times, std::int64_t step, const UnetContext& context,
                     Wrap wrap = {}) const;

  /// For tests: receives the output of inner modules under diffusers' names, while it is set. Not for several threads.
  using Probe = std::function<void(const std::string& name, const at::Tensor& output)>;
  void set_probe(Probe probe) { probe_ = std::move(probe); }

 private:
  Unet(const Unet&) = default;

  struct TransformerBlock {
    LayerNorm norm1;
    Linear self_qkv;
    Linear self_out;
    LayerNorm norm2;
    Linear cross_q;
    Linear cross_kv;
    Linear cross_out;
    LayerNorm norm3;
    Linear values;  // With the gates GEGLU (Shazeer 2020); one tensor in the file, two here, so that the gates' GELU is
    Linear gates;   // part of their multiplication.
    Linear down;
    std::int64_t heads = 1;
  };
  struct Transformer {
    GroupNorm norm;
    Linear in;
    std::vector<TransformerBlock> blocks;
    Linear out;
    void declare(WeightList& list, const std::string& name, const UnetConfig& config, std::int64_t channels,
                 std::int64_t heads, std::int64_t depth);
  };
  struct Resnet {
    ResnetBlock block;
    std::int64_t offset = 0;  // Where its channels begin in UnetTimes::offsets.
    std::int64_t channels = 0;
  };
  struct Level {
    std::vector<Resnet> resnets;
    std::vector<Transformer> attentions;  // Empty, or one for each resnet.
    Conv resample;
  };
  /// One pass: which step it is, and how far it has come in the lists that were computed ahead.
  struct Pass {
    at::Tensor offsets;  // [batch, sum of channels] of this step.
    const UnetContext& context;
    Wrap wrap{};
    std::size_t next_block = 0;
  };

  void declare_resnet(WeightList& list, const std::string& name, Resnet& resnet, std::int64_t in, std::int64_t out);
  at::Tensor run(const Resnet& resnet, const at::Tensor& x, const Pass& pass) const;
  at::Tensor run(const Transformer& transformer, const at::Tensor& x, Pass& pass) const;
  at::Tensor run(const TransformerBlock& block, const at::Tensor& x, Pass& pass) const;
  void probe(const char* name, const at::Tensor& output) const {
    if (probe_) probe_(name, output);
  }
  template <class Visit>
  void each_block(Visit&& visit) const;

  UnetConfig config_;
  Linear time_1_;
  Linear time_2_;
  Linear add_1_;
  Linear add_2_;
  Conv conv_in_;
  std::vector<Level> down_;
  Level middle_;  // Two resnets around one transformer.
  std::vector<Level> up_;
  GroupNorm norm_out_;
  Conv conv_out_;
  std::vector<WeightList::Rows> offset_weights_;  // Of every resnet's time_emb_proj, in the order of their offsets.
  std::vector<WeightList::Rows> offset_biases_;
  Linear offsets_;  // All of them as one layer.
  std::int64_t offset_channels_ = 0;
  Probe probe_;
};

}  // namespace gf::torch
