// A loaded model: tokenizers, text encoders, denoiser and decoder of one diffusers folder. Immutable once loaded.
#pragma once

#include "base/result.hpp"
#include "torch/config.hpp"
#include "torch/host.hpp"
#include "torch/lora.hpp"
#include "torch/part.hpp"
#include "torch/prompt_chunks.hpp"
#include "torch/text_encoder.hpp"
#include "torch/tokenizer.hpp"
#include "torch/unet.hpp"
#include "torch/vae.hpp"

#include <atomic>
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
  TextConfig config;
  std::shared_ptr<Part<TextEncoder>> encoder;
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

/// What the denoiser is told of the prompts. Copies share what was computed of it.
class Conditioning {
 public:
  at::Tensor positive;  ///< [1, tokens, width]
  at::Tensor negative;  ///< Likewise, of as many chunks as it has itself; undefined without guidance.
  at::Tensor pooled;    ///< {negative, positive}: [batch, width]; undefined where the model takes none.
  bool guidance = false;
  PromptLength length;
  PromptLength negative_length;

  /// The prompts' keys and values, computed by the first who asks. Threads: any.
  std::shared_ptr<const UnetContext> context(const Unet& unet) const;

 private:
  struct Computed {
    std::mutex mutex;
    std::shared_ptr<const UnetContext> context;  // Guarded by mutex.
  };
  std::shared_ptr<Computed> computed_ = std::make_shared<Computed>();
};

/// Its parts may be let go and read again; what they compute stays the same. Threads: any.
class Model {
 public:
  /// Reads `folder`, a diffusers folder. Everything is compared (configs, names, shapes, types, what the configs say of
  /// each other) before memory is taken for weights. A call that is thrifty of parts reads none of them yet. Errors:
  /// those of the readers; over_budget; cancelled.
  static Result<std::unique_ptr<Model>> load(const Host& host, const std::string& folder, std::uint32_t device,
                                             const Call& call, VaeParts vae_parts = VaeParts::decoder);

  /// This model with LoRA files at work: another one, which shares every weight that they leave alone. This one stays
  /// as it is to the bit, and must outlive the other. `warnings` receives what a lenient plan has to say. Errors: those
  /// of LoraPatch; over_budget for the weights that are then held twice.
  Result<std::unique_ptr<Model>> with_loras(std::vector<LoraUse> uses, bool strict, const Call& call,
                                            std::vector<std::string>& warnings) const;

  /// Errors: cancelled; not_finite when an embedding is; invalid_argument for more clip_skip than there are layers;
  /// those of chunks_of and of Part::use.
  Result<Conditioning> encode(const Prompts& prompts, const Call& call) const;

  /// A part for use in a call; in one that is thrifty of parts the others are let go first. Errors: those of Part::use.
  Result<std::shared_ptr<TextEncoder>> use_text(std::size_t at, const Call& call) const;
  Result<std::shared_ptr<Unet>> use_unet(const Call& call) const;
  Result<std::shared_ptr<Vae>> use_decoder(const Call& call) const;
  /// The half of the VAE that takes pictures to latents; read when it is first asked for.
  Result<std::shared_ptr<Vae>> use_encoder(const Call& call) const;

  /// Lets every part go, but for the denoiser if that is to stay. Who uses one keeps it.
  void rest(bool keep_denoiser) const { let_go_of_all_but(keep_denoiser ? unet_.get() : nullptr); }

  const ModelIndex& index() const { return index_; }
  const SchedulerConfig& scheduler() const { return scheduler_; }
  const std::vector<TextPart>& text() const { return text_; }
  const UnetConfig& unet_config() const { return unet_config_; }
  const VaeConfig& vae_config() const { return vae_config_; }

  /// Of the parts that are here; of a model with LoRA files only what is its own.
  std::uint64_t weight_bytes() const { return *weight_bytes_; }
  std::uint64_t file_bytes() const { return file_bytes_; }
  std::uint64_t parameters() const { return parameters_; }
  std::size_t max_tokens() const { return max_tokens_; }
  const char* family() const;

 private:
  Model(const Host& host, std::uint32_t device) : host_(host), device_(device) {}
  /// Both sides of one encoder: hidden states that the denoiser takes, and pooled. [batch, ...]
  struct Side {
    at::Tensor hidden;
    at::Tensor pooled;
  };
  /// chunks: at least one.
  Side encode_part(const TextEncoder& encoder, const std::vector<PromptChunk>& chunks, std::int64_t clip_skip) const;
  /// A part whose weights lie in a folder, compared with it but not read. `build` makes the network without weights.
  template <class Network, class Build, class Pack>
  Result<std::shared_ptr<Part<Network>>> file_part(const std::string& folder, const char* stem, Build build, Pack pack,
                                                   std::uint64_t* memory_bytes);
  void let_go_of_all_but(const AnyPart* one) const;

  const Host& host_;
  std::uint32_t device_;
  ModelIndex index_;
  SchedulerConfig scheduler_;
  UnetConfig unet_config_;
  VaeConfig vae_config_;
  std::vector<TextPart> text_;
  std::shared_ptr<Part<Unet>> unet_;
  std::shared_ptr<Part<Vae>> decoder_;
  std::shared_ptr<Part<Vae>> encoder_;  // The decoder's where both halves were asked for.
  const std::shared_ptr<std::atomic<std::uint64_t>> weight_bytes_ = std::make_shared<std::atomic<std::uint64_t>>(0);
  std::uint64_t file_bytes_ = 0;
  std::uint64_t parameters_ = 0;
  std::size_t max_tokens_ = 77;
};

}  // namespace gf::torch
