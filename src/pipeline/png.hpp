// PNG files: an image out, with the recipe that made it as a text chunk.
#pragma once

#include "base/result.hpp"
#include "pipeline/image.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gf::pipeline {

/// What goes into a PNG beside the pixels.
struct PngOptions {
  std::uint32_t compression = 0;  ///< 1 (fast) to 9 (small); 0 stands for 6.
  std::optional<std::string>
      parameters;        ///< UTF-8: the text chunk "parameters", where stable-diffusion-webui puts its own.
  bool indexed = false;  ///< A palette and as few bits a pixel as it needs: pixel art in a fraction of the bytes.
};

/// Encodes as PNG (second edition): RGB when every pixel is opaque, else RGBA; indexed where that is asked for, the
/// transparent colours first and then those that come first; an sRGB chunk; no time. The text is a
/// tEXt chunk where Latin-1 can hold it and iTXt otherwise, as Pillow writes it. Equal input gives equal bytes with the
/// same zlib. Errors: invalid_argument for an image that is not whole or too large, a compression out of its range, a
/// text that is not UTF-8 or holds a NUL, an indexed image of more than 256 colours; out_of_host_memory.
Result<std::vector<std::uint8_t>> encode_png(const Image& image, const PngOptions& options = {});

/// Decodes any PNG to RGBA8: palettes, grey, 16 bits and transparency keys are converted; colour profiles and gamma are
/// not looked at. Errors: corrupt_file where it is none or is damaged; invalid_argument when a side is larger than
/// max_image_side_px; out_of_host_memory. `name` stands for it in messages.
Result<Image> decode_png(std::span<const std::byte> bytes, std::string_view name);

/// The text of the chunk "parameters" (tEXt, zTXt or iTXt), as UTF-8; nullopt where there is none.
/// Errors: those of decode_png; corrupt_file also where an iTXt chunk is not UTF-8.
Result<std::optional<std::string>> png_parameters(std::span<const std::byte> bytes, std::string_view name);

/// Encodes and writes the file, whole or not at all.
/// Errors: those of encode_png and write_whole. The old file is then as it was.
Result<void> write_png(const Image& image, const PngOptions& options, const std::string& path);

}  // namespace gf::pipeline
