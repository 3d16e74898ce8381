#include "pipeline/png.hpp"

#include "base/files.hpp"
#include "base/utf8.hpp"
#include "pipeline/image_ops.hpp"

#include <fmt/format.h>
#include <png.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstring>
#include <new>
#include <span>
#include <unordered_map>
#include <utility>

namespace gf::pipeline {
namespace {

constexpr int default_compression = 6;  // zlib's own default, spelled out: Z_DEFAULT_COMPRESSION may move.

/// What libpng had to say of one run.
struct Complaint {
  bool out_of_memory = false;
  char message[256] = {};
};

/// One encoding. It is owned outside of the frames that a longjmp of libpng's leaves, so no destructor is jumped over.
struct Encoding : Complaint {
  const Image* image = nullptr;
  bool opaque = false;
  int compression = default_compression;
  bool has_text = false;
  bool text_is_latin = false;
  std::string text;  // In the chunk's own encoding.

  // Of an indexed PNG; the palette is empty otherwise.
  std::vector<png_color> palette;
  std::vector<png_byte> alphas;  // Of the first entries; those behind are opaque.
  std::vector<std::uint8_t> indices;

  std::vector<std::uint8_t> bytes;

  bool indexed() const { return !palette.empty(); }
  int bit_depth() const {
    if (!indexed() || palette.size() > 16) return 8;
    return palette.size() > 4 ? 4 : palette.size() > 2 ? 2 : 1;
  }
  int colour_type() const {
    if (indexed()) return PNG_COLOR_TYPE_PALETTE;
    return opaque ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_RGB_ALPHA;
  }
};

extern "C" {

// libpng's default handlers print to stderr, which is the host's. Both may run before png_create_write_struct returns.
[[noreturn]] void on_png_error(png_structp png, png_const_charp message) {
  auto* complaint = static_cast<Complaint*>(png_get_error_ptr(png));
  std::strncpy(complaint->message, message == nullptr ? "" : message, sizeof complaint->message - 1);
  png_longjmp(png, 1);
}

void on_png_warning(png_structp, png_const_charp) {}

void on_png_write(png_structp png, png_bytep bytes, std::size_t count) {
  auto* encoding = static_cast<Encoding*>(png_get_io_ptr(png));
  try {
    encoding->bytes.insert(encoding->bytes.end(), bytes, bytes + count);
  } catch (const std::bad_alloc&) {
    encoding->out_of_memory = true;  // An exception may not fly through libpng's frames; the jump is made outside of
  }                                  // the handler, since it must not leave one.
  if (encoding->out_of_memory) png_error(png, "out of memory");
}

void on_png_flush(png_structp) {}

}  // extern "C"

/// Everything between setjmp and a possible longjmp. Only trivial locals live here, and none changes after setjmp, so
/// that the jump is defined (C++ [csetjmp.syn], C11 7.13.2.1).
bool run_libpng(Encoding* encoding) noexcept {
  png_struct* const png =
      png_create_write_struct(PNG_LIBPNG_VER_STRING, static_cast<Complaint*>(encoding), on_png_error, on_png_warning);
  if (png == nullptr) {
    encoding->out_of_memory = encoding->message[0] == '\0';  // Else: another libpng than that of the headers was found.
    return false;
  }
  png_info* const info = png_create_info_struct(png);
  if (info == nullptr) {
    encoding->out_of_memory = true;
    png_structp dying = png;
    png_destroy_write_struct(&dying, nullptr);
    return false;
  }
  // libpng has no other way to tell of an error.
  if (setjmp(png_jmpbuf(png)) != 0) {  // NOLINT(cert-err52-cpp)
    png_structp dying_png = png;
    png_infop dying_info = info;
    png_destroy_write_struct(&dying_png, &dying_info);
    return false;
  }
  png_set_write_fn(png, encoding, on_png_write, on_png_flush);
  const Image& image = *encoding->image;
  png_set_IHDR(png, info, image.width, image.height, encoding->bit_depth(), encoding->colour_type(), PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (encoding->indexed()) {
    png_set_PLTE(png, info, encoding->palette.data(), static_cast<int>(encoding->palette.size()));
    if (!encoding->alphas.empty()) {
      png_set_tRNS(png, info, encoding->alphas.data(), static_cast<int>(encoding->alphas.size()), nullptr);
    }
  }
  png_set_sRGB(png, info, PNG_sRGB_INTENT_PERCEPTUAL);
  png_set_compression_level(png, encoding->compression);
  if (encoding->has_text) {
    char key[] = "parameters";
    char none[] = "";
    png_text chunk;
    std::memset(&chunk, 0, sizeof chunk);
    chunk.key = key;
    chunk.text = encoding->text.data();
    if (encoding->text_is_latin) {
      chunk.compression = PNG_TEXT_COMPRESSION_NONE;
      chunk.text_length = encoding->text.size();
    } else {
      chunk.compression = PNG_ITXT_COMPRESSION_NONE;
      chunk.itxt_length = encoding->text.size();
      chunk.lang = none;
      chunk.lang_key = none;
    }
    png_set_text(png, info, &chunk, 1);
  }
  png_write_info(png, info);
  const bool indexed = encoding->indexed();
  if (indexed) {
    png_set_packing(png);  // Rows are given a byte a pixel.
  } else if (encoding->opaque) {
    png_set_filler(png, 0, PNG_FILLER_AFTER);  // Strips the fourth byte of each pixel.
  }
  const std::uint8_t* const rows = indexed ? encoding->indices.data() : image.rgba.data();
  const std::size_t stride = std::size_t{image.width} * (indexed ? 1 : 4);
  for (png_uint_32 row = 0; row < image.height; ++row) png_write_row(png, rows + row * stride);
  png_write_end(png, info);
  png_structp done_png = png;
  png_infop done_info = info;
  png_destroy_write_struct(&done_png, &done_info);
  return true;
}

/// One decoding; as Encoding.
struct Decoding : Complaint {
  std::span<const std::byte> bytes;
  std::size_t read = 0;
  Image image;
  std::vector<png_bytep> rows;
  bool too_large = false;
  bool has_text = false;
  bool text_is_latin = false;
  std::string text;  // Of the first chunk "parameters", in its own encoding.
};

extern "C" {

void on_png_read(png_structp png, png_bytep into, std::size_t count) {
  auto* decoding = static_cast<Decoding*>(png_get_io_ptr(png));
  if (count > decoding->bytes.size() - decoding->read) png_error(png, "the file ends early");
  std::memcpy(into, decoding->bytes.data() + decoding->read, count);
  decoding->read += count;
}

}  // extern "C"

/// Room for the pixels, outside of the frame that libpng may jump out of.
bool make_room(Decoding* decoding, png_uint_32 width, png_uint_32 height) noexcept {
  try {
    decoding->image.width = width;
    decoding->image.height = height;
    decoding->image.rgba.resize(decoding->image.byte_count());
    decoding->rows.resize(height);
    for (png_uint_32 row = 0; row < height; ++row) {
      decoding->rows[row] = decoding->image.rgba.data() + std::size_t{row} * width * 4;
    }
    return true;
  } catch (const std::bad_alloc&) {
    decoding->out_of_memory = true;
    return false;
  }
}

/// Keeps the text, outside of that frame too.
bool keep_text(Decoding* decoding, const png_text* texts, int count) noexcept {
  try {
    for (int i = 0; i < count && !decoding->has_text; ++i) {
      if (std::strcmp(texts[i].key, "parameters") != 0) continue;
      const bool international = texts[i].compression >= PNG_ITXT_COMPRESSION_NONE;
      decoding->text.assign(texts[i].text == nullptr ? "" : texts[i].text,
                            international ? texts[i].itxt_length : texts[i].text_length);
      decoding->text_is_latin = !international;
      decoding->has_text = true;
    }
    return true;
  } catch (const std::bad_alloc&) {
    decoding->out_of_memory = true;
    return false;
  }
}

/// As run_libpng.
bool run_libpng(Decoding* decoding) noexcept {
  png_struct* const png =
      png_create_read_struct(PNG_LIBPNG_VER_STRING, static_cast<Complaint*>(decoding), on_png_error, on_png_warning);
  if (png == nullptr) {
    decoding->out_of_memory = decoding->message[0] == '\0';
    return false;
  }
  png_info* const info = png_create_info_struct(png);
  if (info == nullptr) {
    decoding->out_of_memory = true;
    png_structp dying = png;
    png_destroy_read_struct(&dying, nullptr, nullptr);
    return false;
  }
  if (setjmp(png_jmpbuf(png)) != 0) {  // NOLINT(cert-err52-cpp)
    png_structp dying_png = png;
    png_infop dying_info = info;
    png_destroy_read_struct(&dying_png, &dying_info, nullptr);
    return false;
  }
  png_set_read_fn(png, decoding, on_png_read);
  // Larger sides are told from damage below; chunks that nobody reads must not take memory.
  png_set_user_limits(png, 0x7FFFFFFF, 0x7FFFFFFF);
  png_set_chunk_malloc_max(png, 8 << 20);
  png_read_info(png, info);
  const auto width = png_get_image_width(png, info);
  const auto height = png_get_image_height(png, info);
  decoding->too_large = width > max_image_side_px || height > max_image_side_px;
  if (decoding->too_large) png_error(png, "it is too large");
  png_set_expand(png);
  png_set_scale_16(png);
  png_set_gray_to_rgb(png);
  png_set_add_alpha(png, 255, PNG_FILLER_AFTER);
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
  if (png_get_rowbytes(png, info) != std::size_t{width} * 4) png_error(png, "its rows are of an unknown form");
  if (!make_room(decoding, width, height)) png_error(png, "out of memory");
  png_read_image(png, decoding->rows.data());
  png_read_end(png, info);
  png_textp texts = nullptr;
  int text_count = 0;
  png_get_text(png, info, &texts, &text_count);
  if (!keep_text(decoding, texts, text_count)) png_error(png, "out of memory");
  png_structp done_png = png;
  png_infop done_info = info;
  png_destroy_read_struct(&done_png, &done_info, nullptr);
  return true;
}

/// `text` in Latin-1, or nullopt where it holds what a tEXt chunk may not: the PNG specification (11.3.4.3) allows the
/// printable characters and the line feed.
std::optional<std::string> as_latin1(std::string_view text) {
  std::string latin;
  for (std::size_t position = 0; position < text.size();) {
    const auto point = next_code_point(text, position);
    if (!point) return std::nullopt;
    const bool printable = (*point >= 0x20 && *point <= 0x7E) || (*point >= 0xA0 && *point <= 0xFF);
    if (!printable && *point != '\n') return std::nullopt;
    latin.push_back(static_cast<char>(static_cast<unsigned char>(*point)));
  }
  return latin;
}

/// Fills in palette and indices. Errors: invalid_argument.
Result<void> index_colours(const Image& image, Encoding& encoding) {
  constexpr std::size_t most_colours = 256;
  const auto pixel_at = [&image](std::size_t at) {
    std::uint32_t pixel = 0;
    std::memcpy(&pixel, image.rgba.data() + at, 4);
    return pixel;
  };
  const auto alpha_of = [](std::uint32_t pixel) {
    std::array<std::uint8_t, 4> bytes{};
    std::memcpy(bytes.data(), &pixel, 4);
    return bytes[3];
  };
  std::unordered_map<std::uint32_t, std::size_t> places;
  std::vector<std::uint32_t> colours;
  for (std::size_t at = 0; at < image.rgba.size(); at += 4) {
    const auto pixel = pixel_at(at);
    if (!places.try_emplace(pixel, colours.size()).second) continue;
    if (colours.size() == most_colours) {
      return Error{Status::invalid_argument,
                   fmt::format("the image has more than {} colours, which is what an indexed PNG holds", most_colours),
                   {}};
    }
    colours.push_back(pixel);
  }
  // tRNS lists the alphas from the first entry on, so that those below 255 stand there.
  std::stable_partition(colours.begin(), colours.end(), [&](std::uint32_t colour) { return alpha_of(colour) != 255; });
  for (std::size_t i = 0; i < colours.size(); ++i) {
    places[colours[i]] = i;
    std::array<std::uint8_t, 4> bytes{};
    std::memcpy(bytes.data(), &colours[i], 4);
    encoding.palette.push_back({bytes[0], bytes[1], bytes[2]});
    if (bytes[3] != 255) encoding.alphas.push_back(bytes[3]);
  }
  encoding.indices.reserve(image.rgba.size() / 4);
  for (std::size_t at = 0; at < image.rgba.size(); at += 4) {
    encoding.indices.push_back(static_cast<std::uint8_t>(places.find(pixel_at(at))->second));
  }
  return success();
}

/// Decodes, and gives what was read.
Result<Decoding> decode(std::span<const std::byte> bytes, std::string_view name) {
  Decoding decoding;
  decoding.bytes = bytes;
  if (bytes.size() < 8 || png_sig_cmp(reinterpret_cast<png_const_bytep>(bytes.data()), 0, 8) != 0) {
    return Error{Status::corrupt_file, fmt::format("{}: it is not a PNG file", name), {}};
  }
  if (run_libpng(&decoding)) return decoding;
  if (decoding.out_of_memory) return Error{Status::out_of_host_memory, "out of memory while a PNG was decoded", {}};
  if (decoding.too_large) {
    return Error{
        Status::invalid_argument, fmt::format("{}: its sides are larger than {} pixels", name, max_image_side_px), {}};
  }
  return Error{Status::corrupt_file, fmt::format("{}: libpng: {}", name, shown(decoding.message)), {}};
}

}  // namespace

Result<std::vector<std::uint8_t>> encode_png(const Image& image, const PngOptions& options) {
  GF_TRYV(check_image(image));
  if (options.compression > 9) {
    return Error{
        Status::invalid_argument, fmt::format("compression is {}; it must be 1 to 9", options.compression), {}};
  }
  Encoding encoding;
  encoding.image = &image;
  if (options.compression != 0) encoding.compression = static_cast<int>(options.compression);
  if (options.parameters) {
    const auto& text = *options.parameters;
    if (const auto bad = first_invalid_utf8(text)) {
      return Error{Status::invalid_argument, fmt::format("parameters is not UTF-8 from byte {} on", *bad), {}};
    }
    // The chunks end their parts with NUL, and every reader's C string would end there.
    if (const auto nul = text.find('\0'); nul != std::string::npos) {
      return Error{Status::invalid_argument, fmt::format("parameters holds a NUL at byte {}", nul), {}};
    }
    encoding.has_text = true;
    auto latin = as_latin1(text);
    encoding.text_is_latin = latin.has_value();
    if (latin) {
      encoding.text = std::move(*latin);
    } else {
      encoding.text = text;
    }
  }
  encoding.opaque = true;
  for (std::size_t i = 3; i < image.rgba.size() && encoding.opaque; i += 4) encoding.opaque = image.rgba[i] == 255;

  if (options.indexed) {
    GF_TRYV(index_colours(image, encoding));
  }

  if (!run_libpng(&encoding)) {
    if (encoding.out_of_memory) return Error{Status::out_of_host_memory, "out of memory while a PNG was encoded", {}};
    return Error{Status::internal, fmt::format("libpng: {}", encoding.message), {}};
  }
  return std::move(encoding.bytes);
}

Result<Image> decode_png(std::span<const std::byte> bytes, std::string_view name) {
  GF_TRY(auto decoding, decode(bytes, name));
  return std::move(decoding.image);
}

Result<std::optional<std::string>> png_parameters(std::span<const std::byte> bytes, std::string_view name) {
  GF_TRY(auto decoding, decode(bytes, name));
  if (!decoding.has_text) return std::optional<std::string>();
  if (decoding.text_is_latin) {
    std::string text;
    for (const char letter : decoding.text) append_utf8(text, static_cast<unsigned char>(letter));
    return std::optional(std::move(text));
  }
  if (const auto bad = first_invalid_utf8(decoding.text)) {
    return Error{
        Status::corrupt_file, fmt::format("{}: its text \"parameters\" is not UTF-8 from byte {} on", name, *bad), {}};
  }
  return std::optional(std::move(decoding.text));
}

Result<void> write_png(const Image& image, const PngOptions& options, const std::string& path) {
  GF_TRY(const auto bytes, encode_png(image, options));
  return write_whole(path, std::as_bytes(std::span(bytes)));
}

}  // namespace gf::pipeline
