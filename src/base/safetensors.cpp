#include "base/safetensors.hpp"

#include "base/json.hpp"
#include "base/utf8.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

namespace gf {
namespace {

struct TypeRow {
  TensorType type;
  std::string_view name;
  std::uint32_t bytes;
};

constexpr std::array type_rows = {
    TypeRow{TensorType::boolean, "BOOL", 1},    TypeRow{TensorType::u8, "U8", 1},
    TypeRow{TensorType::i8, "I8", 1},           TypeRow{TensorType::f8_e5m2, "F8_E5M2", 1},
    TypeRow{TensorType::f8_e4m3, "F8_E4M3", 1}, TypeRow{TensorType::i16, "I16", 2},
    TypeRow{TensorType::u16, "U16", 2},         TypeRow{TensorType::f16, "F16", 2},
    TypeRow{TensorType::bf16, "BF16", 2},       TypeRow{TensorType::i32, "I32", 4},
    TypeRow{TensorType::u32, "U32", 4},         TypeRow{TensorType::f32, "F32", 4},
    TypeRow{TensorType::i64, "I64", 8},         TypeRow{TensorType::u64, "U64", 8},
    TypeRow{TensorType::f64, "F64", 8}};

/// The reference reader's own bound.
constexpr std::uint64_t largest_header = 100'000'000;

Error corrupt(const ByteSource& file, std::string_view what) {
  return {Status::corrupt_file, fmt::format("{}: {}", file.path(), what), {}};
}

/// What a file that is no safetensors file at all may be, by its first bytes; empty when they say nothing.
std::string_view recognise(std::string_view start) {
  if (start.starts_with("PK\x03\x04"))
    return "a zip archive, as PyTorch writes its checkpoints: a pickle, which can run any code when it is read";
  // A pickle begins with the PROTO opcode and the protocol's number, 2 to 5.
  if (start.size() >= 2 && start[0] == '\x80' && start[1] >= 2 && start[1] <= 5)
    return "a Python pickle, which can run any code when it is read";
  if (start.starts_with("version https://git-lfs")) return "a git-lfs pointer: the file itself was never fetched";
  if (start.starts_with("<!DOCTYPE") || start.starts_with("<!doctype") || start.starts_with("<html")) {
    return "a web page: the download went wrong";
  }
  if (start.starts_with("GGUF")) return "a GGUF file";
  return {};
}

Result<TensorEntry> read_entry(const ByteSource& file, const std::string& name, const Json& value,
                               std::uint64_t data_start) {
  const auto wrong = [&](std::string_view what) {
    return corrupt(file, fmt::format("tensor {}: {}", shown(name), what));
  };
  if (!value.is_object()) return wrong("its entry is not an object");
  for (const auto& [key, unused] : value.items()) {
    if (key != "dtype" && key != "shape" && key != "data_offsets") {
      return wrong(fmt::format("unknown key {}", shown(key)));
    }
  }
  const auto type = value.find("dtype");
  const auto shape = value.find("shape");
  const auto offsets = value.find("data_offsets");
  if (type == value.end() || shape == value.end() || offsets == value.end()) {
    return wrong("dtype, shape or data_offsets is missing");
  }
  if (!type->is_string()) return wrong("dtype is not text");
  const auto& type_name = type->get_ref<const std::string&>();
  const auto row =
      std::find_if(type_rows.begin(), type_rows.end(), [&](const TypeRow& r) { return r.name == type_name; });
  if (row == type_rows.end()) return wrong(fmt::format("dtype {} is unknown", shown(type_name)));

  TensorEntry entry;
  entry.type = row->type;
  if (!shape->is_array()) return wrong("shape is not a list");
  if (shape->size() > 16) return wrong(fmt::format("shape has {} dimensions; at most 16 are read", shape->size()));
  std::uint64_t bytes = row->bytes;
  bool empty = false;
  for (const auto& side : *shape) {
    if (!side.is_number_unsigned() ||
        side.get<std::uint64_t>() > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
      return wrong("shape holds something other than whole numbers from 0 to 2^63-1");
    }
    const auto length = side.get<std::uint64_t>();
    entry.shape.push_back(static_cast<std::int64_t>(length));
    if (length == 0) empty = true;
  }
  for (const auto length : entry.shape) {
    if (empty) break;
    if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(length), &bytes)) {
      return wrong(fmt::format("shape {} has more bytes than 64 bits count", shape_text(entry.shape)));
    }
  }
  if (empty) bytes = 0;
  entry.bytes = bytes;

  if (!offsets->is_array() || offsets->size() != 2 || !(*offsets)[0].is_number_unsigned() ||
      !(*offsets)[1].is_number_unsigned()) {
    return wrong("data_offsets is not a pair of whole numbers");
  }
  const auto begin = (*offsets)[0].get<std::uint64_t>();
  const auto end = (*offsets)[1].get<std::uint64_t>();
  const auto data_bytes = file.size() - data_start;
  if (begin > end) return wrong(fmt::format("data_offsets [{}, {}] run backwards", begin, end));
  if (end > data_bytes) {
    return wrong(
        fmt::format("data_offsets [{}, {}] reach past the end: the file has {} bytes of data", begin, end, data_bytes));
  }
  if (end - begin != bytes) {
    return wrong(fmt::format("shape {} of {} needs {} bytes, data_offsets give {}", shape_text(entry.shape), row->name,
                             bytes, end - begin));
  }
  entry.offset = data_start + begin;
  return entry;
}

}  // namespace

std::uint32_t bytes_per_value(TensorType type) noexcept { return type_rows[static_cast<std::size_t>(type)].bytes; }
std::string_view name_of(TensorType type) noexcept { return type_rows[static_cast<std::size_t>(type)].name; }

bool is_floating(TensorType type) noexcept {
  switch (type) {
    case TensorType::f8_e5m2:
    case TensorType::f8_e4m3:
    case TensorType::f16:
    case TensorType::bf16:
    case TensorType::f32:
    case TensorType::f64:
      return true;
    default:
      return false;
  }
}

std::string shape_text(std::span<const std::int64_t> shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

Result<Safetensors> Safetensors::open(const std::string& path) {
  GF_TRY(auto opened, ReadFile::open(path));
  return open(std::make_unique<ReadFile>(std::move(opened)));
}

Result<Safetensors> Safetensors::open(std::unique_ptr<ByteSource> source) {
  Safetensors result(std::move(source));
  const auto& file = *result.file_;
  const auto& path = file.path();

  std::array<std::byte, 64> start{};
  const auto start_bytes = std::min<std::uint64_t>(file.size(), start.size());
  GF_TRYV(file.read_at(0, std::span(start).first(start_bytes)));
  const std::string_view start_text(reinterpret_cast<const char*>(start.data()), start_bytes);
  if (const auto other = recognise(start_text); !other.empty()) {
    return Error{Status::unsupported_format,
                 fmt::format("{}: it is {}; weights are read from safetensors files only", path, other),
                 {}};
  }
  if (file.size() < 8)
    return corrupt(file, fmt::format("it has {} bytes; a safetensors file begins with 8 of length", file.size()));
  std::uint64_t header_bytes = 0;
  for (std::size_t i = 8; i-- > 0;) header_bytes = header_bytes << 8 | std::to_integer<std::uint64_t>(start[i]);
  if (header_bytes > largest_header) {
    return corrupt(file,
                   fmt::format("its header claims {} bytes; at most {} are allowed", header_bytes, largest_header));
  }
  if (header_bytes > file.size() - 8) {
    return corrupt(file, fmt::format("its header claims {} bytes, and the file has {} after the length", header_bytes,
                                     file.size() - 8));
  }
  std::string header(header_bytes, '\0');
  GF_TRYV(file.read_at(8, std::as_writable_bytes(std::span(header))));
  if (const auto bad = first_invalid_utf8(header)) {
    return corrupt(file, fmt::format("its header is not UTF-8 at byte {}", *bad + 8));
  }
  GF_TRY(const auto document, parse_json(header, path, {.depth = 8, .values = 4'000'000}));
  const auto& json = *document;
  if (!json.is_object()) return corrupt(file, "its header is not a JSON object");

  const auto data_start = 8 + header_bytes;
  for (const auto& [name, value] : json.items()) {
    if (name == "__metadata__") {
      if (!value.is_object()) return corrupt(file, "__metadata__ is not an object");
      for (const auto& [key, text] : value.items()) {
        if (!text.is_string()) return corrupt(file, fmt::format("__metadata__: {} is not text", shown(key)));
        result.metadata_.emplace(key, text.get<std::string>());
      }
      continue;
    }
    GF_TRY(auto entry, read_entry(file, name, value, data_start));
    result.tensors_.emplace(name, std::move(entry));
  }

  // Every byte of data belongs to exactly one tensor.
  std::vector<std::pair<std::uint64_t, const std::pair<const std::string, TensorEntry>*>> order;
  order.reserve(result.tensors_.size());
  for (const auto& item : result.tensors_) order.emplace_back(item.second.offset, &item);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first, a.second->second.bytes) < std::pair(b.first, b.second->second.bytes);
  });
  auto expected = data_start;
  for (const auto& [offset, item] : order) {
    if (offset != expected) {
      return corrupt(file, fmt::format("tensor {} begins at byte {}, {}; byte {} was expected", shown(item->first),
                                       offset, offset < expected ? "inside another tensor" : "after a hole", expected));
    }
    expected += item->second.bytes;
  }
  if (expected != file.size()) {
    return corrupt(file, fmt::format("{} bytes at its end belong to no tensor", file.size() - expected));
  }
  return result;
}

const TensorEntry* Safetensors::find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

Result<void> Safetensors::read(const TensorEntry& entry, std::uint64_t first, std::span<std::byte> into) const {
  if (first > entry.bytes || into.size() > entry.bytes - first) {
    return Error{
        Status::internal, fmt::format("{}: a read of {} bytes leaves its tensor", file_->path(), into.size()), {}};
  }
  return file_->read_at(entry.offset + first, into);
}

Result<std::vector<float>> Safetensors::read_floats(std::string_view name) const {
  const auto* entry = find(name);
  if (entry == nullptr) {
    return Error{Status::not_found, fmt::format("{}: there is no tensor {}", file_->path(), shown(name)), {}};
  }
  std::vector<std::byte> raw(entry->bytes);
  GF_TRYV(read(*entry, 0, raw));
  std::vector<float> values(static_cast<std::size_t>(entry->values()));
  const auto convert = [&](auto sample, auto&& to_float) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      std::memcpy(&sample, raw.data() + i * sizeof sample, sizeof sample);
      values[i] = to_float(sample);
    }
  };
  switch (entry->type) {
    case TensorType::f32:
      convert(float{}, [](float v) { return v; });
      break;
    case TensorType::f64:
      convert(double{}, [](double v) { return static_cast<float>(v); });
      break;
    case TensorType::f16:
      convert(std::uint16_t{}, float_from_half);
      break;
    case TensorType::bf16:
      convert(std::uint16_t{}, float_from_bfloat16);
      break;
    default:
      return Error{Status::unsupported_format,
                   fmt::format("{}: tensor {} is {}, where F16, BF16, F32 or F64 is read", file_->path(), shown(name),
                               name_of(entry->type)),
                   {}};
  }
  return values;
}

Result<void> write_safetensors(const std::string& path, std::span<const NamedFloats> tensors) {
  Json header = Json::object();
  std::uint64_t offset = 0;
  for (const auto& tensor : tensors) {
    if (tensor.name == "__metadata__" || header.contains(tensor.name)) {
      return Error{Status::invalid_argument,
                   fmt::format("tensor {}: the name is {}", shown(tensor.name),
                               tensor.name == "__metadata__" ? "the format's own" : "there twice"),
                   {}};
    }
    std::uint64_t values = 1;
    bool fits = true;
    for (const auto side : tensor.shape) {
      fits = fits && side >= 0 && !__builtin_mul_overflow(values, static_cast<std::uint64_t>(side), &values);
    }
    if (!fits || values != tensor.values.size()) {
      return Error{Status::invalid_argument,
                   fmt::format("tensor {}: shape {} does not hold {} values", shown(tensor.name),
                               shape_text(tensor.shape), tensor.values.size()),
                   {}};
    }
    header[tensor.name] = {{"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + values * 4}}};
    offset += values * 4;
  }
  auto text = to_text(header);
  while (text.size() % 8 != 0) text.push_back(' ');  // So that the data is aligned.
  std::vector<std::byte> bytes(8 + text.size() + offset);
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<std::byte>(std::uint64_t{text.size()} >> (8 * i));
  std::memcpy(bytes.data() + 8, text.data(), text.size());
  auto* at = bytes.data() + 8 + text.size();
  for (const auto& tensor : tensors) {
    if (!tensor.values.empty()) std::memcpy(at, tensor.values.data(), tensor.values.size_bytes());
    at += tensor.values.size_bytes();
  }
  return write_whole(path, bytes);
}

float float_from_half(std::uint16_t bits) noexcept {
  const std::uint32_t sign = std::uint32_t{bits & 0x8000u} << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1F;
  const std::uint32_t fraction = bits & 0x3FF;
  if (exponent == 0x1F) return std::bit_cast<float>(sign | 0x7F800000u | (fraction << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (fraction << 13));
  const float small = static_cast<float>(fraction) * 0x1p-24f;  // Subnormal halves are normal floats.
  return sign != 0 ? -small : small;
}

float float_from_bfloat16(std::uint16_t bits) noexcept { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

}  // namespace gf
