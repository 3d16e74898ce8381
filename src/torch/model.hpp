// A loaded model: tokenizers, text encoders, denoiser and decoder of one diffusers folder. Immutable once loaded.
#pragma once

#include "base/result.hpp"
#include "torch/config.hpp"
#include "torch/host.hpp"
#include "torch/lora.hpp"
#include "torch/prompt_chunks.hpp"
#include "torch/text_encoder.hpp"
#include "torch/tokenizer.hpp"
#include "torch/unet.hpp"
#include "torch/vae.hpp"

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace gf::torch {

/// One text encoder with its tokenizer.
struct TextPart {
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<TextEncoder> encoder;
};

/// Prompts of one request.
struct Prompts {
  Prompt prompt;
  std::optional<Prompt> prompt_2;
  std::optional<Prompt> negative;
  std::optional<Prompt> negative_2;
  LongPrompt longer = LongPrompt::chunks;
  bool guidance = true;  ///< Whether the negative side is needed.
  /// How many of the encoder's last layers the prompt is taken before, as in diffusers: 0 is the model's own layer. The
  /// negative prompt keeps that, as in diffusers.
  std::int64_t clip_skip = 0;
};

/// How long one side's prompt is, by the encoder that has most.
struct PromptLength {
  std::size_t tokens = 0;
  std::size_t chunks = 0;
  std::size_t cut = 0;  ///< Tokens that were left out.
};

/// What the denoiser is told of the prompts.
struct Conditioning {
  at::Tensor positive;  ///< [1, tokens, width]
  at::Tensor negative;  ///< Likewise, of as many chunks as it has itself; undefined without guidance.
  at::Tensor pooled;    ///< {negative, positive}: [batch, width]; undefined where the model takes none.
  UnetContext context;
  bool guidance = false;
  PromptLength length;
  PromptLength negative_length;
};

class Model {
 public:
  /// Reads `folder`, a diffusers folder. Everything is compared (configs, names, shapes, types, what the configs say of
  /// each other) before memory is taken for weights. Errors: those of the readers; over_budget; cancelled.
  static Result<std::unique_ptr<Model>> load(const Host& host, const std::string& folder, std::uint32_t device,
                                             const Call& call, VaeParts vae_parts = VaeParts::decoder);

  /// This model with LoRA files at work: another one, which shares every weight that they leave alone. This one stays
  /// as it is to the bit, and must outlive the other. `warnings` receives what a lenient plan has to say. Errors: those
  /// of LoraPatch; over_budget for the weights that are then held twice.
  Result<std::unique_ptr<Model>> with_loras(std::vector<LoraUse> uses, bool strict, const Call& call,
                                            std::vector<std::string>& warnings) const;

  /// Loads the half of the VAE that takes pictures to latents, if it is not there yet; gives the bytes that this call
  /// took for it. Errors: as load.
  Result<std::uint64_t> need_encoder(const Call& call) const;
  /// image: [1, 3, h, w], -1 to 1. Errors: wrong_state before need_encoder.
  Result<Vae::Distribution> encode_image(const at::Tensor& image) const;

  /// Errors: cancelled; not_finite when an embedding is; invalid_argument for more clip_skip than there are layers;
  /// those of chunks_of.
  Result<Conditioning> encode(const Prompts& prompts, const Call& call) const;

  const ModelIndex& index() const { return index_; }
  const SchedulerConfig& scheduler() const { return scheduler_; }
  const std::vector<TextPart>& text() const { return text_; }
  const Unet& unet() const { return *unet_; }
  Unet& unet() { return *unet_; }
  const Vae& vae() const { return *vae_; }

  std::uint64_t weight_bytes() const;
  std::uint64_t file_bytes() const { return file_bytes_; }
  std::uint64_t parameters() const { return parameters_; }
  std::size_t max_tokens() const { return max_tokens_; }
  const char* family() const;

 private:
  Model(const Host& host, std::string folder, std::uint32_t device)
      : host_(host), folder_(std::move(folder)), device_(device) {}
  /// Both sides of one encoder: hidden states that the denoiser takes, and pooled. [batch, ...]
  struct Side {
    at::Tensor hidden;
    at::Tensor pooled;
  };
  /// chunks: at least one.
  Side encode_part(std::size_t part, const std::vector<PromptChunk>& chunks, std::int64_t clip_skip) const;

  const Host& host_;
  std::string folder_;
  std::uint32_t device_;
  ModelIndex index_;
  SchedulerConfig scheduler_;
  std::vector<TextPart> text_;
  std::shared_ptr<Unet> unet_;
  std::shared_ptr<Vae> vae_;
  const Model* base_ = nullptr;  // Of a model with LoRA files: the one without.
  Charge weights_;
  mutable std::mutex encoder_mutex_;  // Guards the two below until encoder_ is there.
  mutable std::unique_ptr<Vae> encoder_;
  mutable Charge encoder_weights_;
  std::uint64_t file_bytes_ = 0;
  std::uint64_t parameters_ = 0;
  std::size_t max_tokens_ = 77;
};

}  // namespace gf::torch
