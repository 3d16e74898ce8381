#include "pipeline/sheet.hpp"

#include "pictures.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

using gf::Status;
using gf::pipeline::atlas_json;
using gf::pipeline::AtlasFormat;
using gf::pipeline::AtlasOptions;
using gf::pipeline::Image;
using gf::pipeline::pack_sheet;
using gf::pipeline::Sheet;
using gf::pipeline::SheetFrame;
using gf::pipeline::SheetLayout;
using gf::pipeline::SheetOptions;
using gf::test::painted;
using gf::test::Pixel;
using gf::test::pixel_at;
using Json = nlohmann::json;

namespace {

Image solid(std::uint32_t width, std::uint32_t height, const Pixel& pixel) {
  return painted(width, height, [&](auto, auto) { return pixel; });
}

gf::Result<Sheet> packed(const std::vector<Image>& images, const SheetOptions& options = {}) {
  std::vector<const Image*> pointers;
  for (const auto& image : images) pointers.push_back(&image);
  return pack_sheet(pointers, options);
}

/// The frame as it was, cut back out of the sheet.
Image cut_back(const Sheet& sheet, const SheetFrame& frame) {
  return painted(frame.source_width, frame.source_height, [&](std::uint32_t x, std::uint32_t y) {
    const bool inside =
        x >= frame.trim_x && y >= frame.trim_y && x < frame.trim_x + frame.width && y < frame.trim_y + frame.height;
    return inside ? pixel_at(sheet.image, frame.x + x - frame.trim_x, frame.y + y - frame.trim_y) : Pixel{};
  });
}

/// What is transparent becomes RGBA 0, as it is outside of a trimmed frame.
Image without_hidden_colours(Image image) {
  for (std::size_t i = 0; i < image.rgba.size(); i += 4) {
    if (image.rgba[i + 3] == 0) std::fill_n(image.rgba.begin() + static_cast<std::ptrdiff_t>(i), 3, std::uint8_t{0});
  }
  return image;
}

constexpr Pixel red = {255, 0, 0, 255}, blue = {0, 0, 255, 255}, none = {};

}  // namespace

TEST_CASE("golden: a grid by hand, with border, padding and extrusion") {
  const auto sheet =
      packed({solid(2, 1, red), solid(1, 1, blue), solid(1, 1, red)},
             {.layout = SheetLayout::grid, .columns = 2, .padding_px = 1, .border_px = 2, .extrude_px = 1})
          .value();
  // A cell has 2 + 2 and 1 + 2 pixels, and one pixel between: 2 + 4 + 1 + 4 + 2 and 2 + 3 + 1 + 3 + 2.
  CHECK(sheet.image.width == 13);
  CHECK(sheet.image.height == 11);
  CHECK(sheet.frames[0].x == 3);
  CHECK(sheet.frames[0].y == 3);
  CHECK(sheet.frames[1].x == 8);
  CHECK(sheet.frames[2].x == 3);
  CHECK(sheet.frames[2].y == 7);
  for (std::size_t y = 2; y <= 4; ++y) {
    for (std::size_t x = 2; x <= 5; ++x) CHECK(pixel_at(sheet.image, x, y) == red);
  }
  CHECK(pixel_at(sheet.image, 6, 3) == none);
  CHECK(pixel_at(sheet.image, 1, 3) == none);
  CHECK(pixel_at(sheet.image, 9, 4) == blue);
}

TEST_CASE("golden: a packed sheet without room to spare") {
  // 4x4, 2x4 and two of 3x2 fill 6x6.
  const auto sheet = packed({solid(3, 2, red), solid(4, 4, blue), solid(3, 2, blue), solid(2, 4, red)}).value();
  CHECK(sheet.image.width * sheet.image.height == 36);
  CHECK(sheet.frames[1].x == 0);
  CHECK(sheet.frames[1].y == 0);
}

TEST_CASE("trimmed frames remember where they were, and one of nothing keeps a pixel") {
  auto image = solid(6, 5, none);
  for (std::size_t i : {1u * 6 + 2, 3u * 6 + 4})
    std::copy(red.begin(), red.end(), image.rgba.begin() + static_cast<std::ptrdiff_t>(i * 4));
  const auto sheet = packed({image, solid(3, 3, none)}, {.trim = true}).value();
  CHECK(sheet.frames[0].trim_x == 2);
  CHECK(sheet.frames[0].trim_y == 1);
  CHECK(sheet.frames[0].width == 3);
  CHECK(sheet.frames[0].height == 3);
  CHECK(sheet.frames[0].source_width == 6);
  CHECK(sheet.frames[1].width == 1);
  CHECK(sheet.frames[1].source_height == 3);
  CHECK(cut_back(sheet, sheet.frames[0]).rgba == image.rgba);
}

TEST_CASE("frames with equal pixels share a place where that is asked for, whatever was trimmed off them") {
  auto moved = solid(4, 4, none);
  std::copy(red.begin(), red.end(), moved.rgba.begin() + 4 * 5);
  const std::vector<Image> images = {solid(1, 1, red), solid(1, 1, blue), moved, solid(1, 1, red)};
  const auto merged = packed(images, {.trim = true, .merge_duplicates = true}).value();
  CHECK(merged.image.width * merged.image.height == 2);
  CHECK(merged.frames[2].x == merged.frames[0].x);
  CHECK(merged.frames[3].x == merged.frames[0].x);
  CHECK(merged.frames[1].x != merged.frames[0].x);
  CHECK(merged.frames[2].trim_x == 1);
  const auto apart = packed(images, {.trim = true}).value();
  CHECK(apart.image.width * apart.image.height == 4);
}

TEST_CASE(
    "property: frames cut back out of a sheet are what was put in, none overlaps, and the sheet is as was asked") {
  std::mt19937 random(21);
  for (int round = 0; round < 60; ++round) {
    std::vector<Image> images;
    const auto count = 1 + random() % 20;
    for (std::uint32_t i = 0; i < count; ++i) {
      auto image = gf::test::random_image(random, 1 + random() % 20, 1 + random() % 20, false);
      for (std::size_t p = 3; p < image.rgba.size(); p += 4) {
        if (random() % 2 == 0) image.rgba[p] = 0;
      }
      images.push_back(random() % 8 == 0 && i > 0 ? images[i - 1] : image);
    }
    SheetOptions options{.layout = static_cast<SheetLayout>(random() % 2),
                         .padding_px = static_cast<std::uint32_t>(random() % 3),
                         .border_px = static_cast<std::uint32_t>(random() % 4),
                         .extrude_px = static_cast<std::uint32_t>(random() % 3),
                         .trim = random() % 2 == 0,
                         .power_of_two = random() % 2 == 0,
                         .merge_duplicates = random() % 2 == 0};
    if (options.layout == SheetLayout::grid) options.columns = random() % (count + 1);
    const auto made = packed(images, options);
    REQUIRE(made.has_value());
    const auto& sheet = made.value();
    CHECK(packed(images, options).value().image.rgba == sheet.image.rgba);
    if (options.power_of_two) {
      CHECK(std::has_single_bit(sheet.image.width));
      CHECK(std::has_single_bit(sheet.image.height));
    }
    for (std::size_t i = 0; i < count; ++i) {
      const auto& frame = sheet.frames[i];
      const auto wanted = options.trim ? without_hidden_colours(images[i]) : images[i];
      const auto back = cut_back(sheet, frame);
      CHECK((options.trim ? without_hidden_colours(back) : back).rgba == wanted.rgba);
      const auto margin = options.extrude_px + options.border_px;
      CHECK(frame.x >= margin);
      CHECK(frame.x + frame.width + margin <= sheet.image.width);
      CHECK(frame.y + frame.height + margin <= sheet.image.height);
      // What is extruded is the nearest pixel of the frame.
      if (options.extrude_px != 0) {
        CHECK(pixel_at(sheet.image, frame.x - 1, frame.y - 1) == pixel_at(sheet.image, frame.x, frame.y));
        CHECK(pixel_at(sheet.image, frame.x + frame.width, frame.y) ==
              pixel_at(sheet.image, frame.x + frame.width - 1, frame.y));
      }
      for (std::size_t j = 0; j < i; ++j) {
        const auto& other = sheet.frames[j];
        const bool same = options.merge_duplicates && frame.x == other.x && frame.y == other.y;
        const auto gap = 2 * options.extrude_px + options.padding_px;
        const bool apart = frame.x + frame.width + gap <= other.x || other.x + other.width + gap <= frame.x ||
                           frame.y + frame.height + gap <= other.y || other.y + other.height + gap <= frame.y;
        CHECK((same || apart));
      }
    }
  }
}

TEST_CASE("equal squares are packed without loss, and sprites of many sizes with little") {
  const auto squares = packed(std::vector<Image>(64, solid(16, 16, red))).value();
  CHECK(squares.image.width * squares.image.height == 64 * 16 * 16);
  std::mt19937 random(22);
  std::vector<Image> images;
  std::uint64_t area = 0;
  for (int i = 0; i < 200; ++i) {
    images.push_back(solid(8 + random() % 40, 8 + random() % 40, red));
    area += images.back().byte_count() / 4;
  }
  const auto sheet = packed(images).value();
  CHECK(static_cast<double>(area) / (static_cast<double>(sheet.image.width) * sheet.image.height) > 0.9);
  CHECK(std::max(sheet.image.width, sheet.image.height) < 3 * std::min(sheet.image.width, sheet.image.height));
}

TEST_CASE("boundary: what just fits is packed and a pixel more is refused; so are options out of their range") {
  const std::vector<Image> two = {solid(8, 8, red), solid(8, 8, red)};
  CHECK(packed(two, {.max_side_px = 16}).has_value());
  const auto refused = [](const gf::Result<Sheet>& made, const std::string& begins) {
    CAPTURE(begins);
    REQUIRE(!made);
    CHECK(made.error().status == Status::invalid_argument);
    CHECK(made.error().message.find(begins) == 0);
  };
  refused(packed(two, {.max_side_px = 15}), "the 2 frames do not fit into a sheet of 15x15 pixels");
  refused(packed(two, {.layout = SheetLayout::grid, .columns = 2, .max_side_px = 15}), "the 2 frames do not fit");
  refused(packed(two, {.padding_px = 1, .max_side_px = 16}), "the 2 frames do not fit");
  refused(packed(two, {.border_px = 200, .max_side_px = 16}), "the 2 frames do not fit");
  refused(packed({}), "count is 0");
  refused(packed(std::vector<Image>(4097, solid(1, 1, red))), "count is 4097");
  refused(packed(two, {.columns = 2}), "columns is 2; only a grid has columns");
  refused(packed(two, {.layout = SheetLayout::grid, .columns = 3}), "columns is 3; it must be at most 2");
  refused(packed(two, {.padding_px = 257}), "padding_px is 257");
  refused(packed(two, {.border_px = 257}), "border_px is 257");
  refused(packed(two, {.extrude_px = 65}), "extrude_px is 65");
  refused(packed(two, {.max_side_px = 16385}), "max_side_px is 16385");
  CHECK(packed(std::vector<Image>(4096, solid(1, 1, red))).value().image.byte_count() == 4096 * 4);
}

TEST_CASE("golden: the atlas in the shapes of Aseprite and TexturePacker") {
  const std::vector<SheetFrame> frames = {{1, 2, 3, 4, 5, 6, 10, 12}, {4, 0, 2, 2, 0, 0, 2, 2}};
  AtlasOptions options{.image_name = "hero.png", .names = {"walk 0.png", "walk \"1\".png"}, .version = "1.2.3"};
  const auto json_of = [&](AtlasFormat format) {
    options.format = format;
    return Json::parse(atlas_json(frames, 16, 8, options).value());
  };
  // As TexturePacker's documentation of its JSON exporters shows a trimmed sprite.
  const Json first = {{"frame", {{"x", 1}, {"y", 2}, {"w", 3}, {"h", 4}}},
                      {"rotated", false},
                      {"trimmed", true},
                      {"spriteSourceSize", {{"x", 5}, {"y", 6}, {"w", 3}, {"h", 4}}},
                      {"sourceSize", {{"w", 10}, {"h", 12}}}};
  const Json meta = {{"app", "gameforge"},
                     {"version", "1.2.3"},
                     {"image", "hero.png"},
                     {"format", "RGBA8888"},
                     {"size", {{"w", 16}, {"h", 8}}},
                     {"scale", "1"}};
  const auto hash = json_of(AtlasFormat::texturepacker_hash);
  CHECK(hash["frames"].size() == 2);
  CHECK(hash["frames"]["walk 0.png"] == first);
  CHECK(hash["frames"]["walk \"1\".png"]["trimmed"] == false);
  CHECK(hash["meta"] == meta);
  const auto array = json_of(AtlasFormat::texturepacker_array);
  Json named = first;
  named["filename"] = "walk 0.png";
  CHECK(array["frames"][0] == named);

  options.durations_ms = {80, 120};
  options.tags = {{"walk", 0, 1}};
  const auto aseprite = json_of(AtlasFormat::aseprite_hash);
  Json timed = first;
  timed["duration"] = 80;
  CHECK(aseprite["frames"]["walk 0.png"] == timed);
  CHECK(aseprite["meta"]["frameTags"] ==
        Json::array({{{"name", "walk"}, {"from", 0}, {"to", 1}, {"direction", "forward"}}}));
  named["duration"] = 80;
  CHECK(json_of(AtlasFormat::aseprite_array)["frames"][0] == named);
  options.format = AtlasFormat::texturepacker_hash;
  CHECK(atlas_json(frames, 16, 8, options).error().status == Status::unsupported);

  // Names and times of their own, and frames in their order in the text, which a hash of Aseprite's is read by.
  const auto plain = atlas_json(frames, 16, 8, {}).value();
  CHECK(plain.find("{\"frames\":{\"0\":{") == 0);
  CHECK(plain.find("\"1\":{") > plain.find("\"0\":{"));
  CHECK(Json::parse(plain)["frames"]["1"]["duration"] == 100);
  CHECK(!Json::parse(plain)["meta"].contains("image"));
}

TEST_CASE("an atlas that would be wrong is refused by name") {
  const std::vector<SheetFrame> good = {{0, 0, 2, 2, 0, 0, 2, 2}};
  const auto refused = [](const gf::Result<std::string>& made, const std::string& begins) {
    CAPTURE(begins);
    REQUIRE(!made);
    CHECK(made.error().status == Status::invalid_argument);
    CHECK(made.error().message.find(begins) == 0);
  };
  refused(atlas_json({}, 2, 2, {}), "count is 0");
  refused(atlas_json(good, 1, 2, {}), "frames[0] is 2x2 at 0, 0; the sheet is 1x2");
  refused(atlas_json(std::vector<SheetFrame>{{0xFFFFFFFF, 0, 2, 2, 0, 0, 2, 2}}, 2, 2, {}), "frames[0] is 2x2 at");
  refused(atlas_json(std::vector<SheetFrame>{{0, 0, 0, 2, 0, 0, 2, 2}}, 2, 2, {}), "frames[0] is 0x2 at");
  refused(atlas_json(std::vector<SheetFrame>{{0, 0, 2, 2, 1, 0, 2, 2}}, 2, 2, {}),
          "frames[0] is 2x2 at 1, 0 of a source");
  refused(atlas_json(good, 2, 2, {.names = {"a", "b"}}), "2 names are given for 1 frames");
  const std::vector<SheetFrame> two = {good[0], good[0]};
  refused(atlas_json(two, 2, 2, {.names = {"a", "a"}}), "names[1], \"a\", is there twice");
  refused(atlas_json(two, 2, 2, {.names = {"a", "\xFF"}}), "names[1], ");
  refused(atlas_json(two, 2, 2, {.durations_ms = {1}}), "1 durations are given for 2 frames");
  refused(atlas_json(two, 2, 2, {.tags = {{"t", 1, 0}}}), "tags[0] goes from frame 1 to 0; there are 2 frames");
  refused(atlas_json(two, 2, 2, {.tags = {{"t", 0, 2}}}), "tags[0] goes");
  refused(atlas_json(good, 2, 2, {.image_name = "\xC0"}), "image_name is not UTF-8");
}
