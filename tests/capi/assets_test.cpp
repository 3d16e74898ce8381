// Assets through the ABI: what is the library's own (defaults, options, buffers, places); what the pixels become is
// tested where it is made.
#include "support.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using gf::test::TemporaryFolder;

namespace {

/// An image that releases itself.
class Picture {
 public:
  /// A square in the middle of a background: `side` pixels, each 0xRRGGBB.
  static Picture square(std::uint32_t side, std::uint32_t inside, std::uint32_t outside) {
    std::vector<std::uint8_t> pixels;
    for (std::uint32_t y = 0; y < side; ++y) {
      for (std::uint32_t x = 0; x < side; ++x) {
        const bool middle = x >= side / 4 && y >= side / 4 && x < side - side / 4 && y < side - side / 4;
        const auto rgb = middle ? inside : outside;
        for (const int shift : {16, 8, 0}) pixels.push_back(static_cast<std::uint8_t>(rgb >> shift & 255));
        pixels.push_back(255);
      }
    }
    Picture picture;
    REQUIRE(gf_image_create(side, side, 4 * side, pixels.data(), picture.out()) == GF_OK);
    return picture;
  }
  Picture() = default;
  Picture(Picture&& other) noexcept : image_(std::exchange(other.image_, nullptr)) {}
  Picture& operator=(Picture&&) = delete;
  ~Picture() { gf_image_release(image_); }

  gf_image** out() { return &image_; }
  gf_image* get() const { return image_; }
  std::vector<std::uint8_t> pixels() const {
    gf_image_info info = GF_IMAGE_INFO_INIT;
    const std::uint8_t* pixels = nullptr;
    REQUIRE(gf_image_describe(image_, &info) == GF_OK);
    REQUIRE(gf_image_pixels(image_, &pixels) == GF_OK);
    return {pixels, pixels + info.byte_count};
  }

 private:
  gf_image* image_ = nullptr;
};

}  // namespace

TEST_CASE("the defaults cut a sprite, tell its key, and pixel art of it has the colours that were asked for") {
  const auto picture = Picture::square(16, 0xC81E1E, 0x2C303C);
  Picture sprite;
  std::uint32_t key = 0;
  REQUIRE(gf_image_cut_sprite(picture.get(), nullptr, sprite.out(), &key) == GF_OK);
  CHECK(key == 0x2C303C);
  CHECK(sprite.pixels()[3] == 0);
  CHECK(sprite.pixels()[4 * (8 * 16 + 8) + 3] == 255);
  Picture again;
  REQUIRE(gf_image_cut_sprite(sprite.get(), nullptr, again.out(), &key) == GF_OK);
  CHECK(key == GF_NO_KEY);
  gf_sprite_options given = GF_SPRITE_OPTIONS_INIT;
  given.use_key = 1;
  given.key = 0x00FF00;
  Picture whole;
  REQUIRE(gf_image_cut_sprite(picture.get(), &given, whole.out(), nullptr) == GF_OK);
  CHECK(whole.pixels() == picture.pixels());

  const std::uint32_t palette[2] = {0x000000, 0xFF0000};
  gf_pixelate_options options = GF_PIXELATE_OPTIONS_INIT;
  options.cell_px = 4;
  options.palette = palette;
  options.palette_count = 2;
  Picture art;
  REQUIRE(gf_image_pixelate(sprite.get(), &options, art.out()) == GF_OK);
  const auto pixels = art.pixels();
  CHECK(pixels.size() == 4 * 4 * 4);
  const std::uint8_t none[4] = {0, 0, 0, 0}, red[4] = {255, 0, 0, 255};
  CHECK(std::memcmp(pixels.data(), none, 4) == 0);
  CHECK(std::memcmp(&pixels[4 * 5], red, 4) == 0);
}

TEST_CASE("a seam is measured on both axes, and a normal map is made with the default strength") {
  const auto picture = Picture::square(8, 0xFFFFFF, 0x000000);
  gf_seam_score score = GF_SEAM_SCORE_INIT;
  REQUIRE(gf_image_seam_score(picture.get(), &score) == GF_OK);
  CHECK(score.edge_x == 0);
  CHECK(score.inner_x > 0);
  CHECK(score.inner_most_y == 127.5);
  CHECK(score.x == score.y);
  Picture plain, eight, red;
  gf_normal_map_options options = GF_NORMAL_MAP_OPTIONS_INIT;
  REQUIRE(gf_image_normal_map(picture.get(), nullptr, plain.out()) == GF_OK);
  options.strength = 8;
  REQUIRE(gf_image_normal_map(picture.get(), &options, eight.out()) == GF_OK);
  CHECK(plain.pixels() == eight.pixels());
  options.channel = GF_HEIGHT_ALPHA;
  REQUIRE(gf_image_normal_map(picture.get(), &options, red.out()) == GF_OK);
  const std::uint8_t flat[4] = {128, 128, 255, 255};
  CHECK(std::memcmp(red.pixels().data(), flat, 4) == 0);
}

TEST_CASE("palettes come from texts, files and images by the rule of buffers") {
  TemporaryFolder folder;
  gf::test::write_file(folder / "two.gpl", "GIMP Palette\n1 2 3 first\n255 0 0\n");
  std::uint64_t count = 0;
  REQUIRE(gf_palette_read((folder / "two.gpl").c_str(), nullptr, &count) == GF_OK);
  CHECK(count == 2);
  std::uint32_t colours[2] = {7, 7};
  count = 1;
  CHECK(gf_palette_read((folder / "two.gpl").c_str(), colours, &count) == GF_ERR_BUFFER_TOO_SMALL);
  CHECK(count == 2);
  CHECK(colours[0] == 7);
  REQUIRE(gf_palette_read((folder / "two.gpl").c_str(), colours, &count) == GF_OK);
  CHECK(colours[0] == 0x010203);
  CHECK(colours[1] == 0xFF0000);
  gf::test::write_file(folder / "bad.hex", "00ff00\n00ff0\n");
  CHECK(gf_palette_read((folder / "bad.hex").c_str(), colours, &count) == GF_ERR_SYNTAX_ERROR);
  CHECK(std::string(gf_last_error_message()).find("bad.hex:2: ") != std::string::npos);
  count = 2;
  REQUIRE(gf_palette_parse("00ff00 and more", 6, colours, &count) == GF_OK);  // No NUL is looked for.
  CHECK(count == 1);
  CHECK(colours[0] == 0x00FF00);

  const auto picture = Picture::square(8, 0xFFFFFF, 0x102030), other = Picture::square(8, 0xFF0000, 0x102030);
  gf_image* const both[2] = {picture.get(), other.get()};
  std::uint32_t found[4] = {};
  count = 4;
  REQUIRE(gf_palette_find(both, 2, 4, found, &count) == GF_OK);
  CHECK(count == 3);
  CHECK(found[0] == 0x102030);
  CHECK(found[1] == 0xFF0000);
  CHECK(found[2] == 0xFFFFFF);
}

TEST_CASE("a sheet is packed with its places, and its atlas has names, times and tags") {
  const auto picture = Picture::square(8, 0xFFFFFF, 0x102030), other = Picture::square(4, 0xFF0000, 0x102030);
  gf_image* const both[2] = {picture.get(), other.get()};
  gf_sheet_options options = GF_SHEET_OPTIONS_INIT;
  options.power_of_two = 1;
  options.padding_px = 1;
  gf_sheet_frame frames[2] = {};
  Picture sheet;
  REQUIRE(gf_image_pack(both, 2, &options, sheet.out(), frames) == GF_OK);
  CHECK(frames[0].width_px == 8);
  CHECK(frames[1].source_height_px == 4);
  CHECK((frames[1].x >= 9 || frames[1].y >= 9));
  gf_image_info info = GF_IMAGE_INFO_INIT;
  REQUIRE(gf_image_describe(sheet.get(), &info) == GF_OK);
  CHECK(info.width_px * info.height_px == 128);
  Picture without_places;
  CHECK(gf_image_pack(both, 2, nullptr, without_places.out(), nullptr) == GF_OK);

  const char* const names[2] = {"hero 0", "hero 1"};
  const std::uint32_t durations[2] = {50, 60};
  const gf_atlas_tag tag = {"idle", 0, 1};
  gf_atlas_options atlas = GF_ATLAS_OPTIONS_INIT;
  atlas.image_name = "sheet.png";
  atlas.names = names;
  atlas.durations_ms = durations;
  atlas.tags = &tag;
  atlas.tag_count = 1;
  const auto json = nlohmann::json::parse(gf::test::text_of([&](char* buffer, std::uint64_t* size) {
    return gf_atlas_json(frames, 2, info.width_px, info.height_px, &atlas, buffer, size);
  }));
  CHECK(json["frames"]["hero 1"]["duration"] == 60);
  CHECK(json["frames"]["hero 1"]["frame"]["x"] == frames[1].x);
  CHECK(json["meta"]["frameTags"][0]["name"] == "idle");
  CHECK(json["meta"]["version"] == gf_version_text());
}

TEST_CASE("an indexed PNG is smaller and the same picture, and its recipe is read back") {
  TemporaryFolder folder;
  const auto picture = Picture::square(64, 0xFFFFFF, 0x102030);
  gf_png_options options = GF_PNG_OPTIONS_INIT;
  options.parameters = "a square";
  std::uint64_t plain = 0, indexed = 0;
  REQUIRE(gf_image_encode_png(picture.get(), &options, nullptr, &plain) == GF_OK);
  options.indexed = 1;
  REQUIRE(gf_image_encode_png(picture.get(), &options, nullptr, &indexed) == GF_OK);
  CHECK(indexed < plain);
  const auto path = folder / "square.png";
  REQUIRE(gf_image_write_png(picture.get(), &options, path.c_str()) == GF_OK);
  Picture read;
  REQUIRE(gf_image_read_png(path.c_str(), read.out()) == GF_OK);
  CHECK(read.pixels() == picture.pixels());
  CHECK(gf::test::text_of([&](char* buffer, std::uint64_t* size) {
          return gf_png_read_parameters(path.c_str(), buffer, size);
        }) == "a square");
  REQUIRE(gf_image_write_png(picture.get(), nullptr, path.c_str()) == GF_OK);
  std::uint64_t size = 0;
  CHECK(gf_png_read_parameters(path.c_str(), nullptr, &size) == GF_ERR_NOT_FOUND);
}

TEST_CASE("threads that make assets of one image at the same time get the same bytes") {
  const auto picture = Picture::square(32, 0xC81E1E, 0x2C303C);
  const auto chain = [&picture] {
    gf_image *sprite = nullptr, *art = nullptr, *map = nullptr;
    gf_pixelate_options options = GF_PIXELATE_OPTIONS_INIT;
    options.cell_px = 2;
    options.colour_count = 4;
    options.dither = GF_DITHER_FLOYD_STEINBERG;
    std::vector<std::uint8_t> bytes;
    if (gf_image_cut_sprite(picture.get(), nullptr, &sprite, nullptr) == GF_OK &&
        gf_image_pixelate(sprite, &options, &art) == GF_OK && gf_image_normal_map(art, nullptr, &map) == GF_OK) {
      const std::uint8_t* pixels = nullptr;
      if (gf_image_pixels(map, &pixels) == GF_OK) bytes.assign(pixels, pixels + 16 * 16 * 4);
    }
    for (auto* image : {sprite, art, map}) gf_image_release(image);
    return bytes;
  };
  const auto alone = chain();
  REQUIRE(alone.size() == 16 * 16 * 4);
  std::vector<std::vector<std::uint8_t>> made(4);
  std::vector<std::thread> threads;
  for (auto& bytes : made) threads.emplace_back([&] { bytes = chain(); });
  for (auto& thread : threads) thread.join();
  for (const auto& bytes : made) CHECK(bytes == alone);
}
