// Images and latents files through the ABI: what is the library's own (shares, sizes, buffers); what the pixels become
// is tested where it is made.
#include "support.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

using gf::test::TemporaryFolder;

namespace {

/// A few colours, with a stride that is longer than the row.
struct Painted {
  static constexpr std::uint32_t width = 3;
  static constexpr std::uint32_t height = 2;
  static constexpr std::uint32_t stride = 20;
  std::vector<std::uint8_t> pixels = std::vector<std::uint8_t>(stride * height, 0xEE);
  gf_image* image = nullptr;

  Painted() {
    for (std::uint32_t y = 0; y < height; ++y) {
      for (std::uint32_t x = 0; x < width; ++x) {
        const std::uint8_t pixel[4] = {static_cast<std::uint8_t>(40 * x), static_cast<std::uint8_t>(90 * y), 7, 255};
        std::memcpy(&pixels[y * stride + 4 * x], pixel, 4);
      }
    }
    REQUIRE(gf_image_create(width, height, stride, pixels.data(), &image) == GF_OK);
  }
  ~Painted() { gf_image_release(image); }
  Painted(const Painted&) = delete;
  Painted& operator=(const Painted&) = delete;
};

const std::uint8_t* pixels_of(gf_image* image) {
  const std::uint8_t* pixels = nullptr;
  REQUIRE(gf_image_pixels(image, &pixels) == GF_OK);
  return pixels;
}

gf_image_info info_of(gf_image* image) {
  gf_image_info info = GF_IMAGE_INFO_INIT;
  REQUIRE(gf_image_describe(image, &info) == GF_OK);
  return info;
}

std::vector<std::uint8_t> png_of(gf_image* image, const gf_png_options* options = nullptr) {
  std::uint64_t size = 0;
  REQUIRE(gf_image_encode_png(image, options, nullptr, &size) == GF_OK);
  std::vector<std::uint8_t> bytes(size);
  REQUIRE(gf_image_encode_png(image, options, bytes.data(), &size) == GF_OK);
  bytes.resize(size);
  return bytes;
}

}  // namespace

TEST_CASE("an image holds a copy of the host's pixels without the stride's padding") {
  Painted painted;
  const auto info = info_of(painted.image);
  CHECK(info.width_px == 3);
  CHECK(info.height_px == 2);
  CHECK(info.stride_bytes == 12);
  CHECK(info.byte_count == 24);
  CHECK(info.seed == 0);
  const auto* pixels = pixels_of(painted.image);
  for (std::uint32_t row = 0; row < 2; ++row) {
    CHECK(std::memcmp(pixels + 12 * row, &painted.pixels[20 * row], 12) == 0);
  }
}

TEST_CASE("a share is an image of its own handle over the same pixels, and the last one keeps them") {
  gf_image* share = nullptr;
  const std::uint8_t* pixels = nullptr;
  {
    Painted painted;
    REQUIRE(gf_image_share(painted.image, &share) == GF_OK);
    CHECK(share != painted.image);
    pixels = pixels_of(painted.image);
  }
  CHECK(pixels_of(share) == pixels);
  CHECK(pixels[4] == 40);
  CHECK(gf_image_release(share) == GF_OK);
}

TEST_CASE("upscale, grid and key give new images and leave the old ones") {
  Painted painted;
  gf_image* large = nullptr;
  REQUIRE(gf_image_upscale(painted.image, 4, &large) == GF_OK);
  CHECK(info_of(large).width_px == 12);
  CHECK(info_of(large).height_px == 8);
  CHECK(pixels_of(large)[4 * 4] == 40);

  gf_image* const both[2] = {painted.image, large};
  gf_image* sheet = nullptr;
  REQUIRE(gf_image_grid(both, 2, 2, 1, 0x01020304, &sheet) == GF_OK);
  CHECK(info_of(sheet).width_px == 2 * 12 + 3);
  CHECK(info_of(sheet).height_px == 8 + 2);
  const std::uint8_t background[4] = {1, 2, 3, 4};
  CHECK(std::memcmp(pixels_of(sheet), background, 4) == 0);

  // NULL is the border's commonest colour; given options name the colour, and INIT alone means exactly black.
  std::vector<std::uint8_t> flat(4 * 9, 200);
  for (std::size_t index = 3; index < flat.size(); index += 4) flat[index] = 255;
  flat[4 * 4] = 10;
  gf_image* tile = nullptr;
  REQUIRE(gf_image_create(3, 3, 12, flat.data(), &tile) == GF_OK);
  gf_image* keyed = nullptr;
  REQUIRE(gf_image_key_background(tile, nullptr, &keyed) == GF_OK);
  CHECK(pixels_of(keyed)[3] == 0);
  CHECK(pixels_of(keyed)[4 * 4 + 3] == 255);
  gf_image_release(keyed);
  gf_key_options key = GF_KEY_OPTIONS_INIT;
  REQUIRE(gf_image_key_background(tile, &key, &keyed) == GF_OK);
  CHECK(pixels_of(keyed)[3] == 255);
  gf_image_release(keyed);
  key.red = key.green = key.blue = 199;
  key.tolerance = 1;
  REQUIRE(gf_image_key_background(tile, &key, &keyed) == GF_OK);
  CHECK(pixels_of(keyed)[3] == 0);

  for (auto* image : {large, sheet, tile, keyed}) CHECK(gf_image_release(image) == GF_OK);
  CHECK(info_of(painted.image).width_px == 3);
}

TEST_CASE("a grid of one image shared 4096 times is the largest, and a bad handle in it is named by its place") {
  Painted painted;
  std::vector<gf_image*> images(4096, painted.image);
  gf_image* sheet = nullptr;
  REQUIRE(gf_image_grid(images.data(), 4096, 64, 0, 0, &sheet) == GF_OK);
  CHECK(info_of(sheet).width_px == 64 * 3);
  gf_image_release(sheet);
  images[77] = nullptr;
  CHECK(gf_image_grid(images.data(), 4096, 64, 0, 0, &sheet) == GF_ERR_INVALID_HANDLE);
  CHECK(std::string(gf_last_error_message()).find("images[77] is NULL") != std::string::npos);
}

TEST_CASE("PNG follows the rule of buffers, is the same twice, and the same in a file") {
  Painted painted;
  const auto bytes = png_of(painted.image);
  REQUIRE(bytes.size() > 50);
  CHECK(std::memcmp(bytes.data(), "\x89PNG\r\n\x1a\n", 8) == 0);
  CHECK(png_of(painted.image) == bytes);

  std::vector<std::uint8_t> small(bytes.size(), 0xAB);
  std::uint64_t size = bytes.size() - 1;
  CHECK(gf_image_encode_png(painted.image, nullptr, small.data(), &size) == GF_ERR_BUFFER_TOO_SMALL);
  CHECK(size == bytes.size());
  CHECK(small[0] == 0xAB);

  TemporaryFolder folder;
  const auto path = folder / "tile.png";
  gf_png_options options = GF_PNG_OPTIONS_INIT;
  options.parameters = "a red potion\nSteps: 20";
  REQUIRE(gf_image_write_png(painted.image, &options, path.c_str()) == GF_OK);
  const auto with_text = png_of(painted.image, &options);
  CHECK(gf::test::file_text(path) == std::string(with_text.begin(), with_text.end()));
  CHECK(gf::test::file_text(path).find("a red potion") != std::string::npos);
  CHECK(gf_image_write_png(painted.image, &options, (folder / "missing/tile.png").c_str()) == GF_ERR_NOT_FOUND);
}

TEST_CASE("latents are written and read back whole, and asked for their shape alone") {
  TemporaryFolder folder;
  const auto path = folder / "l.safetensors";
  const std::uint32_t shape[4] = {2, 4, 3, 5};
  std::vector<float> values(2 * 4 * 3 * 5);
  for (std::size_t index = 0; index < values.size(); ++index) values[index] = 0.1f * static_cast<float>(index) - 3;
  REQUIRE(gf_latents_write(path.c_str(), values.data(), shape) == GF_OK);

  std::uint64_t count = 0;
  std::uint32_t found[4] = {};
  REQUIRE(gf_latents_read(path.c_str(), nullptr, &count, found) == GF_OK);
  CHECK(count == values.size());
  CHECK(std::memcmp(found, shape, sizeof shape) == 0);
  std::vector<float> read(values.size(), -1.0f);
  count = values.size() - 1;
  CHECK(gf_latents_read(path.c_str(), read.data(), &count, found) == GF_ERR_BUFFER_TOO_SMALL);
  CHECK(count == values.size());
  CHECK(read[0] == -1.0f);
  REQUIRE(gf_latents_read(path.c_str(), read.data(), &count, found) == GF_OK);
  CHECK(read == values);

  gf::test::write_file(folder / "bad.safetensors", "no such thing");
  CHECK(gf_latents_read((folder / "bad.safetensors").c_str(), nullptr, &count, found) == GF_ERR_CORRUPT_FILE);
}

TEST_CASE("threads share, read and release one image at the same time") {
  Painted painted;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&painted] {
      for (int round = 0; round < 500; ++round) {
        gf_image* share = nullptr;
        const std::uint8_t* pixels = nullptr;
        if (gf_image_share(painted.image, &share) != GF_OK || gf_image_pixels(share, &pixels) != GF_OK ||
            pixels[4] != 40 || gf_image_release(share) != GF_OK ||
            gf_image_pixels(share, &pixels) != GF_ERR_INVALID_HANDLE) {
          FAIL_CHECK("a share was not what it should be");
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

TEST_CASE(
    "property: a PNG that was encoded is decoded to the same pixels; a damaged one is corrupt, and nothing else") {
  std::mt19937 random(11);
  for (int round = 0; round < 40; ++round) {
    const auto width = 1 + random() % 40;
    const auto height = 1 + random() % 40;
    std::vector<std::uint8_t> pixels(std::size_t{4} * width * height);
    for (auto& value : pixels) value = static_cast<std::uint8_t>(random());
    if (round % 2 == 0) {
      for (std::size_t at = 3; at < pixels.size(); at += 4) pixels[at] = 255;
    }
    gf_image* image = nullptr;
    REQUIRE(gf_image_create(width, height, 4 * width, pixels.data(), &image) == GF_OK);
    const auto bytes = png_of(image);
    gf_image* decoded = nullptr;
    REQUIRE(gf_image_decode_png(bytes.data(), bytes.size(), &decoded) == GF_OK);
    CHECK(info_of(decoded).width_px == width);
    CHECK(std::memcmp(pixels_of(decoded), pixels.data(), pixels.size()) == 0);
    CHECK(gf_image_release(decoded) == GF_OK);
    CHECK(gf_image_release(image) == GF_OK);

    for (int damage = 0; damage < 60; ++damage) {
      auto broken = bytes;
      if (damage % 3 == 0) {
        broken.resize(random() % broken.size());
      } else {
        broken[random() % broken.size()] ^= static_cast<std::uint8_t>(1 + random() % 255);
      }
      gf_image* made = nullptr;
      const auto status = gf_image_decode_png(broken.data(), broken.size(), &made);
      // A flipped byte of a chunk that nobody needs is no damage to the picture; a huge width is told as such.
      CHECK((status == GF_OK || status == GF_ERR_CORRUPT_FILE || status == GF_ERR_INVALID_ARGUMENT));
      CHECK((status == GF_OK) == (made != nullptr));
      gf_image_release(made);
    }
  }
}
