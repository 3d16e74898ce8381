#include "pipeline/checkpoint_reader.hpp"

#include "base/json_text.hpp"
#include "base/utf8.hpp"
#include "pipeline/checkpoint_names.hpp"
#include "pipeline/clip_tokenizer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <optional>
#include <string_view>
#include <utility>

namespace gf::pipeline {
namespace {

constexpr std::uint64_t largest_transposed_bytes = 256 << 20;
constexpr std::uint64_t largest_bias_bytes = 1 << 20;
constexpr std::size_t most_levels = 8;
constexpr std::size_t most_depth = 64;
constexpr std::size_t unet_resnets = 2;  // Of each level down, in every model of these families.

enum class Family { sd1, sd2, sdxl };

constexpr std::string_view unet_prefix = "model.diffusion_model.";
constexpr std::string_view vae_prefix = "first_stage_model.";
constexpr std::string_view sd1_text = "cond_stage_model.transformer.";
constexpr std::string_view sd2_text = "cond_stage_model.model.";
constexpr std::string_view sdxl_text = "conditioner.embedders.0.transformer.";
constexpr std::string_view sdxl_text_2 = "conditioner.embedders.1.model.";
constexpr std::string_view refiner_text = "conditioner.embedders.0.model.";

/// The members of a config, which a sidecar may replace.
class Config {
 public:
  template <class T>
  Config& set(std::string key, const T& value) {
    JsonText text;
    text.begin_array();
    put(text, value);
    text.end_array();
    auto written = std::move(text).str();
    members_.emplace_back(std::move(key), written.substr(1, written.size() - 2));
    return *this;
  }
  /// A value that is JSON already.
  Config& set_json(std::string key, std::string json) {
    const auto found = std::ranges::find(members_, key, &std::pair<std::string, std::string>::first);
    if (found == members_.end()) {
      members_.emplace_back(std::move(key), std::move(json));
    } else {
      found->second = std::move(json);
    }
    return *this;
  }
  std::string text() const {
    JsonText out;
    out.begin_object();
    for (const auto& [key, value] : members_) out.key(key).json(value);
    out.end_object();
    return std::move(out).str();
  }

 private:
  static void put(JsonText& text, const char* value) { text.text(value); }
  static void put(JsonText& text, const std::string& value) { text.text(value); }
  static void put(JsonText& text, bool value) { text.truth(value); }
  static void put(JsonText& text, double value) { text.number(value); }
  static void put(JsonText& text, std::int64_t value) { text.number(value); }
  static void put(JsonText& text, int value) { text.number(std::int64_t{value}); }
  template <class T>
  static void put(JsonText& text, const std::vector<T>& values) {
    text.begin_array();
    for (const auto& value : values) put(text, value);
    text.end_array();
  }

  std::vector<std::pair<std::string, std::string>> members_;
};

/// A weights file that is being put together.
class Weights {
 public:
  void add(std::string name, TensorType type, std::vector<std::int64_t> shape, Checkpoint::Piece piece) {
    tensors_[std::move(name)] = {type, std::move(shape), std::move(piece)};
  }

  std::shared_ptr<const Checkpoint::File> finish() && {
    auto file = std::make_shared<Checkpoint::File>();
    JsonText header;
    header.begin_object();
    std::uint64_t at = 0;
    for (auto& [name, tensor] : tensors_) {
      header.key(name).begin_object().member("dtype", std::string(name_of(tensor.type)));
      header.key("shape").begin_array();
      for (const auto side : tensor.shape) header.number(side);
      header.end_array().key("data_offsets").begin_array().number(at).number(at + tensor.piece.bytes).end_array();
      header.end_object();
      tensor.piece.start = at;
      at += tensor.piece.bytes;
      file->pieces.push_back(std::move(tensor.piece));
    }
    header.end_object();
    auto text = std::move(header).str();
    text.resize((text.size() + 7) / 8 * 8, ' ');
    const auto length = static_cast<std::uint64_t>(text.size());
    file->head.resize(sizeof length);
    std::memcpy(file->head.data(), &length, sizeof length);  // Little-endian, as every machine that this runs on.
    file->head += text;
    for (auto& piece : file->pieces) piece.start += file->head.size();
    file->size = file->head.size() + at;
    return file;
  }

 private:
  struct Tensor {
    TensorType type;
    std::vector<std::int64_t> shape;
    Checkpoint::Piece piece;
  };
  std::map<std::string, Tensor> tensors_;
};

std::shared_ptr<const Checkpoint::File> text_file(std::string text) {
  auto file = std::make_shared<Checkpoint::File>();
  file->size = text.size();
  file->head = std::move(text);
  return file;
}

/// Reads one checkpoint.
class Reader {
 public:
  Reader(const Safetensors& file, const Json* sidecar) : file_(file), sidecar_(sidecar) {}

  Result<CheckpointFiles> read() {
    GF_TRY(family_, recognise());
    GF_TRYV(read_unet());
    GF_TRYV(read_vae());
    if (family_ == Family::sd2) {
      GF_TRYV(read_open_clip(sd2_text, "text_encoder", "tokenizer"));
    } else {
      GF_TRYV(read_clip(family_ == Family::sd1 ? sd1_text : sdxl_text));
    }
    if (family_ == Family::sdxl) {
      GF_TRYV(read_open_clip(sdxl_text_2, "text_encoder_2", "tokenizer_2"));
    }
    GF_TRYV(write_scheduler());
    GF_TRYV(write_index());
    return std::move(files_);
  }

 private:
  Error not_built(std::string_view what) const {
    return Error{Status::unsupported_format, fmt::format("{}: {}", file_.file().path(), what), {}};
  }
  Error corrupt(std::string_view what) const {
    return Error{Status::corrupt_file, fmt::format("{}: {}", file_.file().path(), what), {}};
  }

  bool has(std::string_view prefix) const {
    const auto found = file_.tensors().lower_bound(prefix);
    return found != file_.tensors().end() && found->first.starts_with(prefix);
  }
  bool any_contains(std::string_view part) const {
    return std::ranges::any_of(file_.tensors(),
                               [&](const auto& entry) { return entry.first.find(part) != std::string::npos; });
  }

  Result<Family> recognise() const {
    if (!has(unet_prefix)) {
      struct Kind {
        bool is;
        std::string_view what;
      };
      const bool lora =
          has("lora_") || any_contains(".lora_A.") || any_contains(".lora_up.") || any_contains(".lora.up.");
      for (const auto& kind :
           {Kind{lora, "it is a LoRA; put it in a folder \"loras\""},
            Kind{has("double_blocks.") || has("model.double_blocks."), "it is a Flux model, which is not built"},
            Kind{any_contains("joint_blocks."), "it is a Stable Diffusion 3 model, which is not built"},
            Kind{has("control_model.") || has("controlnet_"), "it is a ControlNet, which is not built"},
            Kind{has("down_blocks."), "it is one part of a diffusers folder; name the folder"},
            Kind{has("decoder.") || has(vae_prefix), "it is a VAE by itself"}}) {
        if (kind.is) return not_built(kind.what);
      }
      return not_built("its tensors are those of no model that is known");
    }
    if (has(refiner_text)) return not_built("it is an SDXL refiner, which is not built");
    if (has("control_model.")) return not_built("it is a ControlNet, which is not built");
    if (has(sdxl_text) && has(sdxl_text_2)) return Family::sdxl;
    if (has(sd2_text)) return Family::sd2;
    if (has(sd1_text)) return Family::sd1;
    // Older conversions of Stable Diffusion 1 leave this level out.
    return not_built("it has a denoiser, but no text encoder that is known");
  }

  /// Errors: corrupt_file where there is none, or it has another number of sides.
  Result<std::vector<std::int64_t>> shape(const std::string& name, std::size_t sides) const {
    const auto* entry = file_.find(name);
    if (entry == nullptr) return corrupt(fmt::format("it lacks the tensor {}", shown(name)));
    if (entry->shape.size() != sides) {
      return corrupt(fmt::format("tensor {} has the shape {}; {} sides are expected", shown(name),
                                 shape_text(entry->shape), sides));
    }
    return entry->shape;
  }
  bool exists(const std::string& name) const { return file_.find(name) != nullptr; }

  /// Counts "{before}{n}{after}" from 0 on.
  std::size_t count(const std::string& before, const std::string& after, std::size_t most) const {
    std::size_t found = 0;
    while (found <= most && exists(fmt::format("{}{}{}", before, found, after))) ++found;
    return found;
  }

  Checkpoint::Piece piece_of(const TensorEntry& entry) const { return {0, entry.bytes, entry.offset, {}}; }

  template <class Name>
  Result<std::shared_ptr<const Checkpoint::File>> weights(std::string_view prefix, Name&& name_of_part) const {
    Weights weights;
    for (auto entry = file_.tensors().lower_bound(prefix);
         entry != file_.tensors().end() && entry->first.starts_with(prefix); ++entry) {
      const auto original = std::string_view(entry->first).substr(prefix.size());
      const auto& tensor = entry->second;
      for (std::size_t third = 0; third < 3; ++third) {
        const std::optional<PartName> part = name_of_part(original, third);
        if (!part) break;
        auto piece = piece_of(tensor);
        auto sides = tensor.shape;
        if (part->third) {
          if (sides.empty() || sides[0] % 3 != 0) {
            return corrupt(fmt::format("tensor {} has the shape {}; it must have three equal parts",
                                       shown(entry->first), shape_text(sides)));
          }
          sides[0] /= 3;
          piece.bytes /= 3;
          piece.offset += piece.bytes * third;
        }
        if (part->transposed) {
          GF_TRYV(transpose(entry->first, tensor, piece, sides));
        }
        weights.add(part->name, tensor.type, std::move(sides), std::move(piece));
        if (!part->third) break;
      }
    }
    return std::move(weights).finish();
  }

  Result<void> transpose(const std::string& name, const TensorEntry& tensor, Checkpoint::Piece& piece,
                         std::vector<std::int64_t>& sides) const {
    if (sides.size() != 2 || tensor.bytes > largest_transposed_bytes) {
      return corrupt(
          fmt::format("tensor {} has the shape {}; a small matrix is expected", shown(name), shape_text(sides)));
    }
    std::swap(sides[0], sides[1]);
    if (tensor.bytes == 0) return success();  // Where one side is 0 the other may be anything.
    std::vector<std::byte> rows(static_cast<std::size_t>(tensor.bytes));
    GF_TRYV(file_.read(tensor, 0, rows));
    const auto each = static_cast<std::size_t>(bytes_per_value(tensor.type));
    const auto height = static_cast<std::size_t>(tensor.shape[0]);
    const auto width = static_cast<std::size_t>(tensor.shape[1]);
    std::vector<std::byte> columns(rows.size());
    for (std::size_t y = 0; y < height; ++y) {
      for (std::size_t x = 0; x < width; ++x) {
        std::memcpy(columns.data() + (x * height + y) * each, rows.data() + (y * width + x) * each, each);
      }
    }
    piece.memory = std::move(columns);
    return success();
  }

  /// Puts a config among the files, with what the sidecar says of it.
  Result<void> write_config(const std::string& part, const std::string& inner, Config config) {
    if (sidecar_ != nullptr) {
      const auto configs = sidecar_->find("configs");
      if (configs != sidecar_->end() && !configs->is_object()) return corrupt_sidecar("configs is not a JSON object");
      if (configs != sidecar_->end()) {
        const auto own = configs->find(part);
        if (own != configs->end() && !own->is_object()) {
          return corrupt_sidecar(fmt::format("configs.{} is not a JSON object", part));
        }
        if (own != configs->end()) {
          for (const auto& [key, value] : own->items()) config.set_json(key, to_text(value));
        }
      }
    }
    files_[inner] = text_file(config.text());
    return success();
  }
  Error corrupt_sidecar(std::string_view what) const {
    return Error{Status::corrupt_file, fmt::format("the file beside {}: {}", file_.file().path(), what), {}};
  }

  /// 32 as in all published models; what divides the channels where they are narrower.
  static std::int64_t groups_of(const std::vector<std::int64_t>& channels) {
    std::int64_t groups = 32;
    for (const auto width : channels) groups = std::gcd(groups, width);
    return groups;
  }

  Result<void> read_unet() {
    const std::string at(unet_prefix);
    GF_TRY(const auto first, shape(at + "input_blocks.0.0.weight", 4));
    GF_TRY(const auto last, shape(at + "out.2.weight", 4));
    if (first[1] == 9) return not_built("it is an inpainting model with nine channels, which is not built");
    if (first[1] == 8)
      return not_built("it is a model with eight channels (instructions or depth), which is not built");
    std::size_t levels = 1;
    while (levels <= most_levels &&
           exists(fmt::format("{}input_blocks.{}.0.op.weight", at, levels * (unet_resnets + 1)))) {
      ++levels;
    }
    if (levels > most_levels) return corrupt(fmt::format("its denoiser has more than {} levels", most_levels));
    std::vector<std::int64_t> channels;
    std::vector<std::int64_t> heads;
    std::vector<std::int64_t> depths;
    std::vector<std::string> down;
    std::vector<std::string> up;
    std::int64_t cross = 0;
    bool linear = false;
    for (std::size_t level = 0; level < levels; ++level) {
      const auto block = fmt::format("{}input_blocks.{}.", at, 1 + level * (unet_resnets + 1));
      GF_TRY(const auto conv, shape(block + "0.in_layers.2.weight", 4));
      channels.push_back(conv[0]);
      const auto attends = exists(block + "1.proj_in.weight");
      down.emplace_back(attends ? "CrossAttnDownBlock2D" : "DownBlock2D");
      const auto up_block = fmt::format("{}output_blocks.{}.", at, level * (unet_resnets + 1));
      up.emplace_back(exists(up_block + "1.proj_in.weight") ? "CrossAttnUpBlock2D" : "UpBlock2D");
      auto where = block + "1.";
      if (!attends && level + 1 == levels) where = at + "middle_block.1.";
      if (!attends && level + 1 < levels) {
        depths.push_back(1);
      } else {
        const auto depth = count(where + "transformer_blocks.", ".attn1.to_q.weight", most_depth);
        if (depth == 0 || depth > most_depth) {
          return corrupt(fmt::format("{} has {} transformer blocks", where, depth));
        }
        depths.push_back(static_cast<std::int64_t>(depth));
        GF_TRY(const auto keys, shape(where + "transformer_blocks.0.attn2.to_k.weight", 2));
        cross = keys[1];
        const auto* in = file_.find(where + "proj_in.weight");
        linear = in != nullptr && in->shape.size() == 2;
      }
      heads.push_back(family_ == Family::sd1 ? 8 : std::max<std::int64_t>(channels.back() / 64, 1));
    }
    Config config;
    config.set("_class_name", "UNet2DConditionModel").set("in_channels", first[1]).set("out_channels", last[0]);
    config.set("block_out_channels", channels).set("layers_per_block", static_cast<std::int64_t>(unet_resnets));
    config.set("down_block_types", down).set("up_block_types", up).set("cross_attention_dim", cross);
    config.set("attention_head_dim", heads).set("transformer_layers_per_block", depths);
    config.set("use_linear_projection", linear).set("norm_num_groups", groups_of(channels)).set("norm_eps", 1e-5);
    GF_TRYV(find_prediction());
    const bool is_wide = family_ == Family::sd2 && prediction_ == "v_prediction";
    config.set("sample_size", family_ == Family::sdxl ? 128 : is_wide ? 96 : 64);
    if (exists(at + "label_emb.0.0.weight")) {
      GF_TRY(const auto added, shape(at + "label_emb.0.0.weight", 2));
      config.set("addition_embed_type", "text_time").set("addition_time_embed_dim", 256);
      config.set("projection_class_embeddings_input_dim", added[1]);
    }
    GF_TRYV(write_config("unet", "unet/config.json", std::move(config)));
    GF_TRY(files_["unet/diffusion_pytorch_model.safetensors"],
           weights(unet_prefix, [](std::string_view name, std::size_t third) {
             return third == 0 ? unet_name(name, unet_resnets) : std::nullopt;
           }));
    return success();
  }

  Result<void> find_prediction() {
    prediction_ = "epsilon";
    const auto metadata = file_.metadata().find("modelspec.prediction_type");
    if (metadata != file_.metadata().end()) {
      if (metadata->second == "v" || metadata->second == "v_prediction") prediction_ = "v_prediction";
      return success();
    }
    if (exists("v_pred")) {
      prediction_ = "v_prediction";
      return success();
    }
    // Comfy-Org/ComfyUI, comfy/supported_models.py, SD20.model_type: the models with v-prediction were trained further,
    // and this bias spread.
    const auto name = fmt::format("{}output_blocks.11.1.transformer_blocks.0.norm1.bias", unet_prefix);
    const auto* bias = file_.find(name);
    if (family_ != Family::sd2 || bias == nullptr || bias->bytes > largest_bias_bytes) return success();
    const auto values = file_.read_floats(name);
    if (!values || values.value().empty()) return success();
    double sum = 0;
    double squares = 0;
    for (const auto value : values.value()) {
      sum += value;
      squares += double{value} * value;
    }
    const auto number = static_cast<double>(values.value().size());
    const auto variance = squares / number - sum / number * (sum / number);
    if (variance > 0.09 * 0.09) prediction_ = "v_prediction";
    return success();
  }

  Result<void> read_vae() {
    const std::string at(vae_prefix);
    const auto levels = count(at + "decoder.up.", ".block.0.conv1.weight", most_levels);
    if (levels == 0 || levels > most_levels) {
      return corrupt(levels == 0 ? "it has no VAE; models that come without one are not built"
                                 : fmt::format("its VAE has more than {} levels", most_levels));
    }
    std::vector<std::int64_t> channels;
    std::vector<std::string> down;
    std::vector<std::string> up;
    for (std::size_t level = 0; level < levels; ++level) {
      GF_TRY(const auto conv, shape(fmt::format("{}decoder.up.{}.block.0.conv1.weight", at, level), 4));
      channels.push_back(conv[0]);
      down.emplace_back("DownEncoderBlock2D");
      up.emplace_back("UpDecoderBlock2D");
    }
    GF_TRY(const auto in, shape(at + "decoder.conv_in.weight", 4));
    GF_TRY(const auto out, shape(at + "decoder.conv_out.weight", 4));
    // One more up than down.
    const auto resnets = count(at + "decoder.up.0.block.", ".conv1.weight", 16);
    if (resnets < 2) return corrupt("its VAE has too few blocks in a level");
    Config config;
    config.set("_class_name", "AutoencoderKL").set("in_channels", out[0]).set("out_channels", out[0]);
    config.set("latent_channels", in[1]).set("block_out_channels", channels);
    config.set("layers_per_block", static_cast<std::int64_t>(resnets) - 1).set("norm_num_groups", groups_of(channels));
    config.set("down_block_types", down).set("up_block_types", up);
    config.set("scaling_factor", family_ == Family::sdxl ? 0.13025 : 0.18215);
    config.set("mid_block_add_attention", exists(at + "decoder.mid.attn_1.q.weight"));
    config.set("use_quant_conv", exists(at + "quant_conv.weight"));
    config.set("use_post_quant_conv", exists(at + "post_quant_conv.weight"));
    GF_TRYV(write_config("vae", "vae/config.json", std::move(config)));
    GF_TRY(files_["vae/diffusion_pytorch_model.safetensors"],
           weights(vae_prefix, [levels](std::string_view name, std::size_t third) {
             return third == 0 ? vae_name(name, levels) : std::nullopt;
           }));
    return success();
  }

  Result<void> write_text_config(const std::string& part, const char* architecture, const char* activation,
                                 std::int64_t width, std::int64_t inner, std::size_t layers, std::int64_t positions,
                                 std::int64_t vocabulary, std::int64_t projection) {
    Config config;
    config.set("model_type", "clip_text_model").set("architectures", std::vector<std::string>{architecture});
    config.set("vocab_size", vocabulary).set("hidden_size", width).set("intermediate_size", inner);
    config.set("num_hidden_layers", static_cast<std::int64_t>(layers)).set("max_position_embeddings", positions);
    config.set("num_attention_heads", std::max<std::int64_t>(width / 64, 1)).set("hidden_act", activation);
    config.set("layer_norm_eps", 1e-5).set("eos_token_id", 2).set("projection_dim", projection);
    return write_config(part, part + "/config.json", std::move(config));
  }

  void write_tokenizer(const std::string& part, const char* padding) {
    files_[part + "/vocab.json"] = text_file(clip_vocabulary_json());
    files_[part + "/merges.txt"] = text_file(std::string(clip_merges()));
    Config config;
    config.set("tokenizer_class", "CLIPTokenizer").set("bos_token", "<|startoftext|>");
    config.set("eos_token", "<|endoftext|>").set("unk_token", "<|endoftext|>").set("pad_token", padding);
    config.set("model_max_length", 77);
    files_[part + "/tokenizer_config.json"] = text_file(config.text());
  }

  Result<void> read_clip(std::string_view prefix) {
    const auto at = std::string(prefix) + "text_model.";
    GF_TRY(const auto tokens, shape(at + "embeddings.token_embedding.weight", 2));
    GF_TRY(const auto positions, shape(at + "embeddings.position_embedding.weight", 2));
    GF_TRY(const auto inner, shape(at + "encoder.layers.0.mlp.fc1.weight", 2));
    const auto layers = count(at + "encoder.layers.", ".mlp.fc1.weight", 128);
    GF_TRYV(write_text_config("text_encoder", "CLIPTextModel", "quick_gelu", tokens[1], inner[0], layers, positions[0],
                              tokens[0], tokens[1]));
    write_tokenizer("tokenizer", "<|endoftext|>");
    GF_TRY(files_["text_encoder/model.safetensors"],
           weights(prefix, [](std::string_view name, std::size_t third) -> std::optional<PartName> {
             if (third != 0 || name.ends_with(".position_ids")) return std::nullopt;
             return PartName{std::string(name), {}};
           }));
    return success();
  }

  Result<void> read_open_clip(std::string_view prefix, const std::string& part, const std::string& tokenizer) {
    const std::string at(prefix);
    GF_TRY(const auto tokens, shape(at + "token_embedding.weight", 2));
    GF_TRY(const auto positions, shape(at + "positional_embedding", 2));
    GF_TRY(const auto inner, shape(at + "transformer.resblocks.0.mlp.c_fc.weight", 2));
    auto layers = count(at + "transformer.resblocks.", ".mlp.c_fc.weight", 128);
    const bool projects = family_ == Family::sdxl;
    std::int64_t projection = tokens[1];
    if (projects) {
      GF_TRY(const auto matrix, shape(at + "text_projection", 2));
      projection = matrix[1];
    } else {
      // Stable Diffusion 2 takes the last but one layer's states, so that folders leave the last layer of 24 out, and
      // the projection behind it. Files that were made of folders do without both.
      if (layers < 2) return corrupt("its text encoder has too few layers");
      if (exists(at + "text_projection") || layers == 24) --layers;
    }
    GF_TRYV(write_text_config(part, projects ? "CLIPTextModelWithProjection" : "CLIPTextModel", "gelu", tokens[1],
                              inner[0], layers, positions[0], tokens[0], projection));
    write_tokenizer(tokenizer, "!");
    GF_TRY(files_[part + "/model.safetensors"],
           weights(prefix, [&](std::string_view name, std::size_t third) -> std::optional<PartName> {
             if (!projects && name == "text_projection") return std::nullopt;
             auto rest = name;
             if (take_start(rest, "transformer.resblocks.")) {
               const auto block = take_number(rest);
               if (!block || *block >= layers) return std::nullopt;
             }
             return open_clip_name(name, third);
           }));
    return success();
  }

  Result<void> write_scheduler() {
    Config config;
    config.set("_class_name", "EulerDiscreteScheduler").set("num_train_timesteps", 1000);
    config.set("beta_start", 0.00085).set("beta_end", 0.012).set("beta_schedule", "scaled_linear");
    config.set("prediction_type", prediction_).set("timestep_spacing", "leading").set("steps_offset", 1);
    if (exists("ztsnr")) config.set("rescale_betas_zero_snr", true);
    return write_config("scheduler", "scheduler/scheduler_config.json", std::move(config));
  }

  Result<void> write_index() {
    const bool two = family_ == Family::sdxl;
    const auto pair = [](const char* library, const char* name) { return std::vector<std::string>{library, name}; };
    Config config;
    config.set("_class_name", two ? "StableDiffusionXLPipeline" : "StableDiffusionPipeline");
    config.set("scheduler", pair("diffusers", "EulerDiscreteScheduler"));
    config.set("text_encoder", pair("transformers", "CLIPTextModel"));
    config.set("tokenizer", pair("transformers", "CLIPTokenizer"));
    if (two) {
      config.set("text_encoder_2", pair("transformers", "CLIPTextModelWithProjection"));
      config.set("tokenizer_2", pair("transformers", "CLIPTokenizer")).set("force_zeros_for_empty_prompt", true);
    }
    config.set("unet", pair("diffusers", "UNet2DConditionModel")).set("vae", pair("diffusers", "AutoencoderKL"));
    return write_config("model_index", "model_index.json", std::move(config));
  }

  const Safetensors& file_;
  const Json* sidecar_;
  Family family_ = Family::sd1;
  std::string prediction_;
  CheckpointFiles files_;
};

}  // namespace

Result<CheckpointFiles> read_checkpoint(const Safetensors& file, const Json* sidecar) {
  return Reader(file, sidecar).read();
}

}  // namespace gf::pipeline
