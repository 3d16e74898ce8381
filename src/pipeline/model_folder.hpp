// Model folders: finds a model by reference and reads what it says about itself, without loading weights.
#pragma once

#include "base/files.hpp"
#include "base/json_text.hpp"
#include "base/result.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gf::pipeline {

struct Request;

/// What a model's gameforge.json sets where a request does not.
struct ModelDefaults {
  std::uint32_t width_px = 0;  ///< 0: not set, as in the other fields.
  std::uint32_t height_px = 0;
  std::uint32_t steps = 0;
  double cfg_scale = 0;
  double guidance_rescale = 0;
  std::string sampler;   ///< Canonical.
  std::string schedule;  ///< Canonical.
  std::optional<std::string> negative_prompt;
};

/// The flat colour behind what a model draws.
struct ModelBackground {
  std::uint8_t red = 0;
  std::uint8_t green = 0;
  std::uint8_t blue = 0;
  std::uint32_t tolerance = 0;  ///< 0 to 255, each channel.
};

/// One part of a model, a folder of its own.
struct ModelPart {
  std::string name;        ///< "unet".
  std::string library;     ///< "diffusers".
  std::string class_name;  ///< "UNet2DConditionModel".
};

/// What a model's small files say. Immutable.
struct ModelDescription {
  std::string name;      ///< Of gameforge.json, else the folder's.
  std::string path;      ///< Absolute, links resolved.
  std::string licence;   ///< Empty when it is not told.
  std::string pipeline;  ///< "StableDiffusionXLPipeline".
  std::string family;    ///< "sdxl".
  std::string prediction;
  std::vector<ModelPart> parts;
  std::uint32_t latent_channels = 0;
  std::uint32_t vae_factor = 0;        ///< Pixels a latent cell, each way.
  std::uint32_t size_multiple_px = 0;  ///< What width and height must be multiples of.
  std::uint32_t default_width_px = 0;
  std::uint32_t default_height_px = 0;
  std::uint32_t default_steps = 0;
  double default_cfg_scale = 0;
  std::string default_sampler;  ///< Canonical.
  ModelDefaults defaults;       ///< As gameforge.json has them; those above are already merged with them.
  std::optional<ModelBackground> background;
  std::vector<std::string> warnings;
};

/// A model of the list.
struct ModelName {
  std::string name;  ///< Of its folder.
  std::string path;  ///< Absolute, links resolved.
};

/// Threads: any. Nothing is locked while files are read.
class ModelFolders {
 public:
  ModelFolders(std::vector<std::string> folders, bool allow_paths)
      : folders_(std::move(folders)), allow_paths_(allow_paths) {}

  /// The folder or single file that a reference names; a file is named without its ending, or with it. Reads no file.
  /// Errors: those of check_model_reference; not_found names the folders that were looked in.
  Result<ModelName> resolve(std::string_view reference) const;

  /// Reads model_index.json, the configs of VAE, UNet and scheduler, and gameforge.json; from the cache while none of
  /// them has changed.
  /// Errors: not_found, corrupt_file, unsupported_format and those of ReadFile; the message names the file and what is
  /// wrong in it.
  Result<std::shared_ptr<const ModelDescription>> inspect(const ModelName& model) const;

  /// The file of a LoRA: NAME.safetensors in the model's folder "loras" (of a single file: in the one beside it), then
  /// in the folder "loras" of each model folder; a path is itself. Reads no file. Errors: not_found names where it was
  /// looked for.
  Result<std::string> find_lora(const std::string& name, const ModelName& model) const;

  /// Every folder with a model_index.json and every .safetensors file, whatever is in it, in the order of the folders,
  /// then by name. A folder that cannot be read has no models.
  std::vector<ModelName> list() const;

  const std::vector<std::string>& folders() const { return folders_; }

 private:
  struct Cached {
    std::map<std::string, FileStamp> stamps;  // By path; a file that is missing has an empty stamp.
    std::shared_ptr<const ModelDescription> description;
  };

  std::vector<std::string> folders_;
  bool allow_paths_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, Cached> cache_;  // By path. Guarded by mutex_.
};

/// The members of the object that gf_model_info_json gives, with the parts' files and bytes as they are now.
void write_json(JsonText& out, const ModelDescription& model);

/// Fills what the request leaves to the model, and judges what only the model can tell: sizes, initial latents.
/// Errors: invalid_argument names the field, its value and what the model needs.
Result<Request> with_defaults(Request request, const ModelDescription& model);

}  // namespace gf::pipeline
