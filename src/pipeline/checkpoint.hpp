// Single-file checkpoints, as model sites distribute them, read as the diffusers folder that they stand for: each path
// FILE.safetensors/unet/config.json, FILE.safetensors/unet/diffusion_pytorch_model.safetensors, ... can be opened, so
// that whoever reads folders reads these too. Nothing is copied: tensors are other names for places in the file.
#pragma once

#include "base/files.hpp"
#include "base/result.hpp"
#include "base/safetensors.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gf::pipeline {

inline constexpr std::string_view checkpoint_suffix = ".safetensors";

/// A checkpoint whose architecture was recognised by the names and shapes of its tensors: Stable Diffusion 1, 2 or XL
/// base. Immutable. Threads: any.
///
/// What neither names nor shapes tell is as in the published models: heads of 64 wide (Stable Diffusion 1: 8 heads),
/// norm groups of 32, the noise schedule. The prediction is what the file's metadata say (modelspec.prediction_type),
/// or a tensor named v_pred; for Stable Diffusion 2, whose two kinds have the same tensors, else the spread of one bias
/// as ComfyUI measures it. A file FILE.gameforge.json beside it is the folder's gameforge.json, and may correct all of
/// it: its member "configs" has for each part ("unet", "vae", "scheduler", "text_encoder", ...) what replaces or joins
/// the members of that part's config.
class Checkpoint {
 public:
  /// Errors: those of Safetensors::open; unsupported_format for a file of something else (a LoRA, a VAE, an SDXL
  /// refiner, an inpainting model, ...), which it names; corrupt_file for shapes that no such model has, and for a
  /// FILE.gameforge.json that is none.
  static Result<std::shared_ptr<const Checkpoint>> open(const std::string& path);

  const std::string& path() const { return path_; }
  /// Of the file that was read.
  const FileStamp& stamp() const { return stamp_; }
  /// The folder's files, such as "unet/config.json", in the order of their names.
  std::vector<std::string> files() const;
  /// They, with their bytes.
  std::vector<std::pair<std::string, std::uint64_t>> sizes() const;
  /// One of them. Its stamp is the file's own.
  /// Errors: not_found; corrupt_file when another file has its name by now; those of ReadFile::open.
  Result<std::unique_ptr<ByteSource>> open_file(std::string_view inner) const;

  struct Piece;
  struct File;

 private:
  Checkpoint() = default;

  std::string path_;
  FileStamp stamp_;
  std::map<std::string, std::shared_ptr<const File>, std::less<>> files_;
};

/// A file that may lie in a checkpoint: "/models/a.safetensors/unet/config.json". Any other path is opened as it is.
/// stamp: receives the state of the file, or of the checkpoint that it lies in.
/// Errors: those of ReadFile::open and of Checkpoint.
Result<std::unique_ptr<ByteSource>> open_model_file(const std::string& path, FileStamp& stamp);

/// The state that open_model_file would give; an empty one where there is no such file.
FileStamp stamp_of_model_file(const std::string& path);

/// The files of a folder, or of one inside of a checkpoint, with their bytes, in the order of their names. A folder
/// that cannot be read has none.
std::vector<std::pair<std::string, std::uint64_t>> files_in_model(const std::string& folder);

/// Whether `path` is a regular file whose name ends as a checkpoint's does.
bool is_checkpoint_file(const std::string& path) noexcept;

}  // namespace gf::pipeline
