// safetensors files: the header checked before anything in it is believed, tensors read by position.
// Format: huggingface/safetensors, README "Format" and the checks of its reference reader, version 0.8.
#pragma once

#include "base/files.hpp"
#include "base/result.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gf {

enum class TensorType : std::uint8_t {
  boolean,
  u8,
  i8,
  f8_e5m2,
  f8_e4m3,
  i16,
  u16,
  f16,
  bf16,
  i32,
  u32,
  f32,
  i64,
  u64,
  f64
};

std::uint32_t bytes_per_value(TensorType type) noexcept;
std::string_view name_of(TensorType type) noexcept;
bool is_floating(TensorType type) noexcept;

/// Where one tensor lies in its file.
struct TensorEntry {
  TensorType type = TensorType::f32;
  std::vector<std::int64_t> shape;  ///< Each at least 0; empty for a scalar.
  std::uint64_t offset = 0;         ///< Of its first byte in the file.
  std::uint64_t bytes = 0;          ///< The product of the shape times the value's size: checked.

  std::int64_t values() const { return static_cast<std::int64_t>(bytes / bytes_per_value(type)); }
};

/// "[4, 16, 3]".
std::string shape_text(std::span<const std::int64_t> shape);

/// An open file with its checked header. Threads: any, several at a time, once it is open.
class Safetensors {
 public:
  /// Errors: those of ReadFile::open; unsupported_format for what is recognised as something else (a pickle, a zip
  /// archive, a git-lfs pointer, a web page); corrupt_file with the file, the tensor and what is wrong otherwise.
  static Result<Safetensors> open(const std::string& path);
  /// The same for bytes that somebody else reads.
  static Result<Safetensors> open(std::unique_ptr<ByteSource> source);

  const ByteSource& file() const { return *file_; }
  const std::map<std::string, TensorEntry, std::less<>>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// nullptr when there is none of that name.
  const TensorEntry* find(std::string_view name) const;

  /// Reads bytes [first, first + into.size()) of the tensor; the range must lie inside it.
  Result<void> read(const TensorEntry& entry, std::uint64_t first, std::span<std::byte> into) const;

  /// The whole tensor as float32, from f16, bf16, f32 or f64.
  /// Errors: not_found names the tensor; unsupported_format for other types; those of read.
  Result<std::vector<float>> read_floats(std::string_view name) const;

 private:
  explicit Safetensors(std::unique_ptr<ByteSource> file) : file_(std::move(file)) {}

  std::unique_ptr<ByteSource> file_;
  std::map<std::string, TensorEntry, std::less<>> tensors_;
  std::map<std::string, std::string> metadata_;
};

/// A float32 tensor to write; the values are borrowed for the call.
struct NamedFloats {
  std::string name;
  std::vector<std::int64_t> shape;
  std::span<const float> values;
};

/// Writes float32 tensors as one file, whole or not at all.
/// Errors: invalid_argument when a shape does not fit its values; those of write_whole.
Result<void> write_safetensors(const std::string& path, std::span<const NamedFloats> tensors);

/// One IEEE 754 half-precision value, or one bfloat16 value, as float32 (exact).
float float_from_half(std::uint16_t bits) noexcept;
float float_from_bfloat16(std::uint16_t bits) noexcept;

}  // namespace gf
