// Images at the ABI: counted and immutable, so that a share is all that a handle holds.
#include "base/files.hpp"
#include "buffers.hpp"
#include "firewall.hpp"
#include "images.hpp"
#include "objects.hpp"
#include "pipeline/image_ops.hpp"
#include "pipeline/png.hpp"
#include "structs.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

using gf::Result;
using gf::pipeline::Image;

namespace gf::capi {

ImageTable& images() {
  static auto& table = *new ImageTable;
  return table;
}

namespace {

// A field was added: see that the struct still has no padding, and keep the first size where it is read.
static_assert(sizeof(gf_image_info) == 32);
static_assert(sizeof(gf_key_options) == 24);
static_assert(sizeof(gf_png_options) == 24);
constexpr std::size_t first_info_bytes = 32;
constexpr std::size_t first_key_bytes = 24;
constexpr std::size_t first_png_bytes = 16;

constexpr std::uint64_t largest_file_bytes = std::uint64_t{1} << 30;

Result<void> check_side(std::uint32_t side_px, const char* what) {
  if (side_px >= 1 && side_px <= pipeline::max_image_side_px) return success();
  return invalid(fmt::format("{} is {}; it must be 1 to {}", what, side_px, pipeline::max_image_side_px));
}

Result<std::uint8_t> channel(std::uint32_t value, const char* what) {
  if (value > 255) return invalid(fmt::format("options->{} is {}; it must be 0 to 255", what, value));
  return static_cast<std::uint8_t>(value);
}

Result<pipeline::KeyOptions> key_options(const gf_key_options* options) {
  pipeline::KeyOptions key;  // What NULL stands for.
  if (options == nullptr) return key;
  GF_TRY(const auto read, read_options(options, gf_key_options GF_KEY_OPTIONS_INIT, first_key_bytes, "options"));
  GF_TRY(key.use_border, truth(read.use_border, "options->use_border"));
  GF_TRY(key.tolerance, channel(read.tolerance, "tolerance"));
  if (!key.use_border) {
    GF_TRY(key.red, channel(read.red, "red"));
    GF_TRY(key.green, channel(read.green, "green"));
    GF_TRY(key.blue, channel(read.blue, "blue"));
  }
  return key;
}

Result<pipeline::PngOptions> png_options(const gf_png_options* options) {
  GF_TRY(const auto read, read_options(options, gf_png_options GF_PNG_OPTIONS_INIT, first_png_bytes, "options"));
  pipeline::PngOptions png;
  png.compression = read.compression;
  GF_TRY(png.indexed, truth(read.indexed, "options->indexed"));
  GF_TRYV(zero(read.reserved, "options->reserved"));
  if (read.parameters != nullptr) png.parameters = read.parameters;
  return png;
}

}  // namespace

Result<void> give_image(Result<Image> made, gf_image** out_image) {
  GF_TRY(auto image, std::move(made));
  *out_image = images().insert(std::make_shared<const Image>(std::move(image)));
  return success();
}

Result<FoundImages> find_images(gf_image* const* handles, std::uint32_t count) {
  if (handles == nullptr) return invalid("images is NULL");
  if (count < 1 || count > max_images) {
    return invalid(fmt::format("count is {}; it must be 1 to {}", count, max_images));
  }
  FoundImages found;
  for (std::uint32_t index = 0; index < count; ++index) {
    GF_TRY(auto image, find(images(), handles[index], fmt::format("images[{}]", index)));
    found.pointers.push_back(image.get());
    found.shares.push_back(std::move(image));
  }
  return found;
}

}  // namespace gf::capi

using namespace gf::capi;

extern "C" {

gf_status gf_image_create(uint32_t width_px, uint32_t height_px, uint32_t stride_bytes, const uint8_t* pixels,
                          gf_image** out_image) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(clear_out(out_image, "out_image"));
    GF_TRYV(check_side(width_px, "width_px"));
    GF_TRYV(check_side(height_px, "height_px"));
    if (stride_bytes < 4 * width_px) {
      return invalid(
          fmt::format("stride_bytes is {}; rows of {} pixels need at least {}", stride_bytes, width_px, 4 * width_px));
    }
    if (pixels == nullptr) return invalid("pixels is NULL");
    Image image;
    image.width = width_px;
    image.height = height_px;
    image.rgba.resize(image.byte_count());
    const std::size_t row_bytes = std::size_t{4} * width_px;
    for (std::size_t row = 0; row < height_px; ++row) {
      std::memcpy(image.rgba.data() + row * row_bytes, pixels + row * stride_bytes, row_bytes);
    }
    return give_image(std::move(image), out_image);
  });
}

gf_status gf_image_describe(gf_image* image, gf_image_info* out_info) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(images(), image, "image"));
    GF_TRYV(check_out(out_info, first_info_bytes, "out_info"));
    gf_image_info info = GF_IMAGE_INFO_INIT;
    info.width_px = found->width;
    info.height_px = found->height;
    info.stride_bytes = 4 * found->width;
    info.byte_count = found->byte_count();
    info.seed = found->seed;
    write_out(out_info, info);
    return gf::success();
  });
}

gf_status gf_image_pixels(gf_image* image, const uint8_t** out_pixels) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(clear_out(out_pixels, "out_pixels"));
    GF_TRY(const auto found, find(images(), image, "image"));
    *out_pixels = found->rgba.data();
    return gf::success();
  });
}

gf_status gf_image_share(gf_image* image, gf_image** out_image) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(clear_out(out_image, "out_image"));
    GF_TRY(auto found, find(images(), image, "image"));
    *out_image = images().insert(std::move(found));
    return gf::success();
  });
}

gf_status gf_image_release(gf_image* image) {
  return firewall([&] { return release(images(), image, "image"); });
}

gf_status gf_image_upscale(gf_image* image, uint32_t factor, gf_image** out_image) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(clear_out(out_image, "out_image"));
    GF_TRY(const auto found, find(images(), image, "image"));
    return give_image(gf::pipeline::upscale_nearest(*found, factor), out_image);
  });
}

gf_status gf_image_key_background(gf_image* image, const gf_key_options* options, gf_image** out_image) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(clear_out(out_image, "out_image"));
    GF_TRY(const auto found, find(images(), image, "image"));
    GF_TRY(const auto key, key_options(options));
    return give_image(gf::pipeline::key_background(*found, key), out_image);
  });
}

gf_status gf_image_grid(gf_image* const* image_array, uint32_t count, uint32_t columns, uint32_t gap_px,
                        uint32_t background, gf_image** out_image) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(clear_out(out_image, "out_image"));
    GF_TRY(const auto cells, find_images(image_array, count));
    return give_image(gf::pipeline::grid(cells.pointers, columns, gap_px, background), out_image);
  });
}

gf_status gf_image_encode_png(gf_image* image, const gf_png_options* options, uint8_t* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    GF_TRY(const auto found, find(images(), image, "image"));
    GF_TRY(const auto png, png_options(options));
    GF_TRY(const auto bytes, gf::pipeline::encode_png(*found, png));
    return fill_buffer(bytes.size(), buffer, size, "bytes",
                       [&](uint8_t* to) { std::memcpy(to, bytes.data(), bytes.size()); });
  });
}

gf_status gf_image_write_png(gf_image* image, const gf_png_options* options, const char* path) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(images(), image, "image"));
    GF_TRY(const auto png, png_options(options));
    GF_TRY(const auto text, needed_text(path, "path"));
    return gf::pipeline::write_png(*found, png, std::string(text));
  });
}

gf_status gf_image_decode_png(const uint8_t* bytes, uint64_t size, gf_image** out_image) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(clear_out(out_image, "out_image"));
    if (bytes == nullptr) return invalid("bytes is NULL");
    return give_image(gf::pipeline::decode_png(std::as_bytes(std::span(bytes, size)), "bytes"), out_image);
  });
}

gf_status gf_image_read_png(const char* path, gf_image** out_image) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(clear_out(out_image, "out_image"));
    if (path == nullptr) return invalid("path is NULL");
    GF_TRY(const auto bytes, gf::read_text(path, largest_file_bytes));
    return give_image(gf::pipeline::decode_png(std::as_bytes(std::span(bytes)), path), out_image);
  });
}

gf_status gf_png_read_parameters(const char* path, char* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    if (path == nullptr) return invalid("path is NULL");
    GF_TRY(const auto bytes, gf::read_text(path, largest_file_bytes));
    GF_TRY(const auto text, gf::pipeline::png_parameters(std::as_bytes(std::span(bytes)), path));
    if (!text) return gf::Error{gf::Status::not_found, fmt::format("{}: it has no text \"parameters\"", path), {}};
    return give_text(*text, buffer, size);
  });
}

}  // extern "C"
