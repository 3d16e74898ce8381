#include "pipeline/flood.hpp"

#include <cstring>

namespace gf::pipeline {

void bleed_colours(Image& image, const std::vector<std::uint32_t>& clear) {
  enum : std::uint8_t { kept, empty, coloured };
  std::vector<std::uint8_t> state(std::size_t{image.width} * image.height, kept);
  for (const auto pixel : clear) state[pixel] = empty;
  const auto take_colour = [&](std::size_t pixel, std::size_t from) {
    std::memcpy(image.rgba.data() + pixel * 4, image.rgba.data() + from * 4, 3);
    state[pixel] = coloured;
  };
  // Colours spread a step a round, in the order of rows: the same image gives the same bytes.
  std::vector<std::uint32_t> spreading;
  for (const auto pixel : clear) {
    bool found = false;
    for_neighbours(image, pixel, [&](std::size_t neighbour) {
      if (found || state[neighbour] != kept) return;
      take_colour(pixel, neighbour);
      spreading.push_back(pixel);
      found = true;
    });
  }
  for (std::size_t next = 0; next < spreading.size(); ++next) {
    const std::size_t from = spreading[next];
    for_neighbours(image, from, [&](std::size_t neighbour) {
      if (state[neighbour] != empty) return;
      take_colour(neighbour, from);
      spreading.push_back(static_cast<std::uint32_t>(neighbour));
    });
  }
}

}  // namespace gf::pipeline
