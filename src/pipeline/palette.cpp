#include "pipeline/palette.hpp"

#include "base/utf8.hpp"
#include "pipeline/image_ops.hpp"
#include "pipeline/oklab.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>

namespace gf::pipeline {
namespace {

constexpr std::string_view blanks = " \t\r\v\f";

Error invalid(std::string message) { return {Status::invalid_argument, std::move(message), {}}; }

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

/// The lines of a palette's file, one after the other, and the colours so far.
class Reading {
 public:
  Reading(std::string_view text, std::string_view name) : rest_(text), name_(name) {}

  /// The next line without the blanks around it; nullopt at the end.
  std::optional<std::string_view> next() {
    if (at_end_) return std::nullopt;
    ++line_;
    const auto end = rest_.find('\n');
    const auto line = rest_.substr(0, end);
    at_end_ = end == std::string_view::npos;
    rest_ = at_end_ ? std::string_view{} : rest_.substr(end + 1);
    return trimmed(line);
  }

  Error wrong(std::string_view what, Status status = Status::syntax_error) const {
    return {status, fmt::format("{}:{}: {}", name_, line_, what), {}};
  }

  Result<void> add(std::uint32_t colour) {
    if (std::find(palette_.begin(), palette_.end(), colour) != palette_.end()) return success();
    if (palette_.size() == max_palette_colours) {
      return wrong(fmt::format("it has more than {} colours", max_palette_colours), Status::payload_too_large);
    }
    palette_.push_back(colour);
    return success();
  }

  Result<Palette> finish() {
    if (palette_.empty()) return wrong("the file ends without a colour");
    return std::move(palette_);
  }

 private:
  std::string_view rest_;
  std::string_view name_;
  std::size_t line_ = 0;
  bool at_end_ = false;
  Palette palette_;
};

/// The number at the front of `text`, 0 to 255, which is taken off; nullopt where there is none or it is larger.
std::optional<std::uint32_t> take_channel(std::string_view& text) {
  text = trimmed(text);
  std::uint32_t value = 0;
  std::size_t digits = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') {
    value = value * 10 + static_cast<std::uint32_t>(text[digits] - '0');
    if (value > 255) return std::nullopt;
    ++digits;
  }
  if (digits == 0) return std::nullopt;
  if (digits < text.size() && blanks.find(text[digits]) == std::string_view::npos) return std::nullopt;
  text.remove_prefix(digits);
  return value;
}

Result<Palette> parse_gpl(Reading reading) {
  (void)reading.next();  // "GIMP Palette"
  bool with_alpha = false;
  bool in_header = true;
  while (const auto line = reading.next()) {
    if (line->empty() || line->front() == '#') continue;
    if (in_header) {
      if (line->starts_with("Channels:")) {
        const auto channels = trimmed(line->substr(9));
        with_alpha = channels == "RGBA";
        if (!with_alpha && channels != "RGB") {
          return reading.wrong(fmt::format("channels {} are not known; they are RGB or RGBA", shown(channels)));
        }
        continue;
      }
      if (line->starts_with("Name:") || line->starts_with("Columns:")) continue;
      in_header = false;
    }
    auto rest = *line;
    std::array<std::uint32_t, 4> channels = {0, 0, 0, 255};
    for (std::size_t i = 0; i < (with_alpha ? 4u : 3u); ++i) {
      const auto value = take_channel(rest);
      if (!value) {
        return reading.wrong(fmt::format("{} is no colour; it must begin with {} numbers from 0 to 255", shown(*line),
                                         with_alpha ? 4 : 3));
      }
      channels[i] = *value;
    }
    if (channels[3] == 0) continue;  // The entry that Aseprite keeps for "nothing".
    if (channels[3] != 255) {
      return reading.wrong(fmt::format("alpha is {}; a palette's colours are opaque", channels[3]),
                           Status::unsupported_format);
    }
    GF_TRYV(reading.add(channels[0] << 16 | channels[1] << 8 | channels[2]));
  }
  return reading.finish();
}

std::optional<std::uint32_t> hex_colour(std::string_view text) {
  if (text.starts_with('#')) text.remove_prefix(1);
  if (text.size() != 6) return std::nullopt;
  std::uint32_t colour = 0;
  for (const char digit : text) {
    std::uint32_t value = 0;
    if (digit >= '0' && digit <= '9') {
      value = static_cast<std::uint32_t>(digit - '0');
    } else if (digit >= 'a' && digit <= 'f') {
      value = static_cast<std::uint32_t>(digit - 'a' + 10);
    } else if (digit >= 'A' && digit <= 'F') {
      value = static_cast<std::uint32_t>(digit - 'A' + 10);
    } else {
      return std::nullopt;
    }
    colour = colour << 4 | value;
  }
  return colour;
}

Result<Palette> parse_hex(Reading reading) {
  while (const auto line = reading.next()) {
    if (line->empty() || line->front() == ';') continue;
    const auto colour = hex_colour(*line);
    if (!colour) return reading.wrong(fmt::format("{} is no colour; it must be six hexadecimal digits", shown(*line)));
    GF_TRYV(reading.add(*colour));
  }
  return reading.finish();
}

/// A colour of the pictures and how many pixels have it.
struct Counted {
  Oklab colour;
  std::int64_t pixels = 0;
};

constexpr std::size_t most_exact_colours = 32768;

template <class Visit>
void for_opaque(std::span<const Image* const> images, Visit&& visit) {
  for (const auto* image : images) {
    const auto* p = image->rgba.data();
    for (const auto* const end = p + image->rgba.size(); p != end; p += 4) {
      if (p[3] >= 128) visit(std::uint32_t{p[0]} << 16 | std::uint32_t{p[1]} << 8 | p[2]);
    }
  }
}

/// The different colours in rising order, as long as they are no more than most_exact_colours; else nullopt.
std::optional<std::vector<std::uint32_t>> different_colours(std::span<const Image* const> images) {
  std::vector<std::uint64_t> seen(std::size_t{1} << 18);  // A bit a colour.
  std::size_t count = 0;
  for_opaque(images, [&](std::uint32_t rgb) {
    auto& word = seen[rgb >> 6];
    const auto bit = std::uint64_t{1} << (rgb & 63);
    if ((word & bit) != 0) return;
    word |= bit;
    ++count;
  });
  if (count > most_exact_colours) return std::nullopt;
  std::vector<std::uint32_t> colours;
  colours.reserve(count);
  for (std::size_t word = 0; word < seen.size(); ++word) {
    for (std::uint32_t bit = 0; seen[word] >> bit != 0; ++bit) {
      if ((seen[word] >> bit & 1) != 0) colours.push_back(static_cast<std::uint32_t>(word << 6 | bit));
      if (bit == 63) break;
    }
  }
  return colours;
}

std::vector<Counted> counted(std::span<const Image* const> images, const std::vector<std::uint32_t>& colours) {
  std::vector<Counted> points(colours.size());
  for (std::size_t i = 0; i < colours.size(); ++i) points[i].colour = to_oklab(colours[i]);
  for_opaque(images, [&](std::uint32_t rgb) {
    const auto place = std::lower_bound(colours.begin(), colours.end(), rgb) - colours.begin();
    ++points[static_cast<std::size_t>(place)].pixels;
  });
  return points;
}

std::vector<Counted> binned(std::span<const Image* const> images) {
  struct Bin {
    std::int64_t pixels = 0, red = 0, green = 0, blue = 0;
  };
  std::vector<Bin> bins(std::size_t{1} << 15);
  for_opaque(images, [&](std::uint32_t rgb) {
    auto& bin = bins[(rgb >> 19 & 31) << 10 | (rgb >> 11 & 31) << 5 | (rgb >> 3 & 31)];
    ++bin.pixels;
    bin.red += rgb >> 16;
    bin.green += rgb >> 8 & 255;
    bin.blue += rgb & 255;
  });
  std::vector<Counted> points;
  for (const auto& bin : bins) {
    if (bin.pixels == 0) continue;
    const auto mean = [&](std::int64_t sum) { return static_cast<std::uint32_t>((sum + bin.pixels / 2) / bin.pixels); };
    points.push_back({to_oklab(mean(bin.red) << 16 | mean(bin.green) << 8 | mean(bin.blue)), bin.pixels});
  }
  return points;
}

constexpr std::array<std::int32_t Oklab::*, 3> axes = {&Oklab::l, &Oklab::a, &Oklab::b};

std::int64_t rounded_mean(std::int64_t sum, std::int64_t count) {
  return sum >= 0 ? (sum + count / 2) / count : -((-sum + count / 2) / count);
}

/// The mean of colours, as sums: 2^40 pixels of 2^17 at most stay within 64 bits.
struct Mean {
  std::int64_t pixels = 0;
  std::array<std::int64_t, 3> sums{};

  void add(const Counted& point) {
    pixels += point.pixels;
    for (std::size_t i = 0; i < 3; ++i) sums[i] += point.pixels * (point.colour.*axes[i]);
  }
  Oklab value() const {
    Oklab mean;
    if (pixels == 0) return mean;  // No box is empty, which clang's analyzer cannot know.
    for (std::size_t i = 0; i < 3; ++i) mean.*axes[i] = static_cast<std::int32_t>(rounded_mean(sums[i], pixels));
    return mean;
  }
};

/// Some of the points, [first, last), and along which axis they are furthest from their mean.
struct Box {
  std::size_t first = 0;
  std::size_t last = 0;
  Oklab mean;
  std::size_t axis = 0;
  std::int64_t error = 0;  ///< Squared, along the axis, summed over pixels, in 1/1024.
};

Box box_of(const std::vector<Counted>& points, std::size_t first, std::size_t last) {
  Mean mean;
  for (std::size_t i = first; i < last; ++i) mean.add(points[i]);
  Box box{first, last, mean.value(), 0, 0};
  std::array<std::int64_t, 3> errors{};
  for (std::size_t i = first; i < last; ++i) {
    for (std::size_t axis = 0; axis < 3; ++axis) {
      const std::int64_t off = (points[i].colour.*axes[axis] - box.mean.*axes[axis]) / 64;
      errors[axis] += points[i].pixels * off * off;
    }
  }
  for (std::size_t axis = 0; axis < 3; ++axis) {
    if (errors[axis] > box.error) {
      box.error = errors[axis];
      box.axis = axis;
    }
  }
  return box;
}

/// Means of at most `colours` boxes over the points, which are put into the boxes' order.
std::vector<Oklab> cut(std::vector<Counted>& points, std::uint32_t colours) {
  std::vector<Box> boxes = {box_of(points, 0, points.size())};
  while (boxes.size() < colours) {
    const auto widest = std::max_element(
        boxes.begin(), boxes.end(), [](const Box& a, const Box& b) { return a.error < b.error; });  // The first one.
    if (widest->error == 0) break;
    const auto box = *widest;
    const auto axis = axes[box.axis];
    const auto middle = std::stable_partition(
        points.begin() + static_cast<std::ptrdiff_t>(box.first), points.begin() + static_cast<std::ptrdiff_t>(box.last),
        [&](const Counted& point) { return point.colour.*axis <= box.mean.*axis; });
    const auto cut_at = static_cast<std::size_t>(middle - points.begin());
    // The mean is rounded, so that all may lie on one side of it.
    if (cut_at == box.first || cut_at == box.last) {
      widest->error = 0;
      continue;
    }
    *widest = box_of(points, box.first, cut_at);
    boxes.push_back(box_of(points, cut_at, box.last));
  }
  std::vector<Oklab> means;
  means.reserve(boxes.size());
  for (const auto& box : boxes) means.push_back(box.mean);
  return means;
}

/// Lloyd's rounds from the boxes' means on. A mean that nothing is nearest to stays.
void refine(const std::vector<Counted>& points, std::vector<Oklab>& means) {
  constexpr int most_rounds = 12;  // Bounds the time: 32768 points and 256 means are 8 million distances a round.
  std::vector<Mean> sums(means.size());
  for (int round = 0; round < most_rounds; ++round) {
    std::fill(sums.begin(), sums.end(), Mean{});
    for (const auto& point : points) {
      std::size_t nearest = 0;
      std::int64_t least = distance_squared(point.colour, means[0]);
      for (std::size_t i = 1; i < means.size(); ++i) {
        const auto distance = distance_squared(point.colour, means[i]);
        if (distance < least) {
          least = distance;
          nearest = i;
        }
      }
      sums[nearest].add(point);
    }
    bool moved = false;
    for (std::size_t i = 0; i < means.size(); ++i) {
      if (sums[i].pixels == 0) continue;
      const auto mean = sums[i].value();
      moved = moved || mean != means[i];
      means[i] = mean;
    }
    if (!moved) break;
  }
}

}  // namespace

Result<Palette> parse_palette(std::string_view text, std::string_view name) {
  if (text.size() > max_palette_file_bytes) {
    return Error{
        Status::payload_too_large,
        fmt::format("{}: it has {} bytes; a palette has at most {}", name, text.size(), max_palette_file_bytes),
        {}};
  }
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  const auto first_line = trimmed(text.substr(0, text.find('\n')));
  if (first_line == "GIMP Palette") return parse_gpl(Reading(text, name));
  return parse_hex(Reading(text, name));
}

Result<void> check_palette(std::span<const std::uint32_t> palette) {
  if (palette.empty() || palette.size() > max_palette_colours) {
    return invalid(
        fmt::format("the palette has {} colours; it must have 1 to {}", palette.size(), max_palette_colours));
  }
  for (std::size_t i = 0; i < palette.size(); ++i) {
    if (palette[i] > 0xFFFFFF) {
      return invalid(fmt::format("palette[{}] is {:#x}; it must be at most 0xffffff", i, palette[i]));
    }
  }
  return success();
}

Result<Palette> find_palette(std::span<const Image* const> images, std::uint32_t colours) {
  if (colours < 1 || colours > max_palette_colours) {
    return invalid(fmt::format("colours is {}; it must be 1 to {}", colours, max_palette_colours));
  }
  if (images.empty()) return invalid("count is 0; it must be at least 1");
  for (const auto* image : images) {
    GF_TRYV(check_image(*image));
  }

  Palette palette;
  const auto exact = different_colours(images);
  if (exact && exact->empty()) {
    return Error{Status::not_found, "every pixel is transparent, so that there is no colour to find", {}};
  }
  if (exact && exact->size() <= colours) {
    palette = *exact;
  } else {
    auto points = exact ? counted(images, *exact) : binned(images);
    auto means = cut(points, colours);
    refine(points, means);
    for (const auto& mean : means) palette.push_back(to_rgb(mean));
  }
  std::sort(palette.begin(), palette.end(),
            [](std::uint32_t a, std::uint32_t b) { return std::pair(to_oklab(a).l, a) < std::pair(to_oklab(b).l, b); });
  palette.erase(std::unique(palette.begin(), palette.end()), palette.end());
  return palette;
}

}  // namespace gf::pipeline
