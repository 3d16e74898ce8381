#include "pipeline/sprite.hpp"

#include "pipeline/flood.hpp"
#include "pipeline/image_ops.hpp"
#include "pipeline/oklab.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace gf::pipeline {
namespace {

Error invalid(std::string message) { return {Status::invalid_argument, std::move(message), {}}; }

using Rgb = std::array<std::int32_t, 3>;

Rgb channels(std::uint32_t rgb) {
  return {static_cast<std::int32_t>(rgb >> 16 & 255), static_cast<std::int32_t>(rgb >> 8 & 255),
          static_cast<std::int32_t>(rgb & 255)};
}

std::int32_t dot(const Rgb& a, const Rgb& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

Rgb operator-(const Rgb& a, const Rgb& b) { return {a[0] - b[0], a[1] - b[1], a[2] - b[2]}; }

/// A tolerance in 1/1000 of OKLab, squared as distance_squared is.
std::int64_t squared_tolerance(std::uint32_t thousandths) {
  const auto distance = std::int64_t{thousandths} * oklab_one / 1000;
  return distance * distance;
}

struct Dominant {
  std::uint32_t rgb = 0;
  std::uint32_t share = 0;  // In 1/1000 of the whole border.
};

/// The colour around which most of the border's visible pixels lie: the fullest of 16 x 16 x 16 bins, whose mean then
/// moves to that of the pixels within the tolerance.
Dominant dominant_colour(const std::vector<std::uint32_t>& visible, std::size_t border, std::int64_t tolerance) {
  struct Bin {
    std::uint32_t pixels = 0;
    std::array<std::uint32_t, 3> sums{};
    void add(std::uint32_t rgb) {
      ++pixels;
      for (std::size_t i = 0; i < 3; ++i) sums[i] += static_cast<std::uint32_t>(channels(rgb)[i]);
    }
    std::uint32_t mean() const {
      std::uint32_t rgb = 0;
      for (const auto sum : sums) rgb = rgb << 8 | (sum + pixels / 2) / pixels;
      return rgb;
    }
  };
  std::vector<Bin> bins(4096);
  for (const auto rgb : visible) bins[(rgb >> 20 & 15) << 8 | (rgb >> 12 & 15) << 4 | (rgb >> 4 & 15)].add(rgb);
  auto best =
      *std::max_element(bins.begin(), bins.end(), [](const Bin& a, const Bin& b) { return a.pixels < b.pixels; });
  constexpr int rounds = 4;  // The flat part of a border lies in the fullest bin and at most its neighbours.
  Dominant dominant{best.mean(), 0};
  for (int round = 0; round < rounds; ++round) {
    const auto centre = to_oklab(dominant.rgb);
    Bin near;
    for (const auto rgb : visible) {
      if (distance_squared(to_oklab(rgb), centre) <= tolerance) near.add(rgb);
    }
    dominant.share = static_cast<std::uint32_t>(std::uint64_t{near.pixels} * 1000 / border);
    if (near.pixels == 0 || near.mean() == dominant.rgb) break;
    dominant.rgb = near.mean();
  }
  return dominant;
}

/// One cutting: the picture, what is background, and how far each pixel is inside.
class Cutting {
 public:
  Cutting(const Image& image, std::uint32_t key, bool has_key, const SpriteOptions& options)
      : options_(options),
        tolerance_(squared_tolerance(options.tolerance)),
        key_(channels(key)),
        key_lab_(to_oklab(key)),
        has_key_(has_key),
        out_(image),
        depth_(std::size_t{image.width} * image.height, deep) {}

  Image cut() {
    find_background();
    const Image before = out_;
    if (has_key_ && options_.edge_px != 0) {
      find_depths();
      soften(before);
    }
    std::vector<std::uint32_t> clear;
    for (std::size_t pixel = 0; pixel < depth_.size(); ++pixel) {
      if (depth_[pixel] == background && !softened(pixel)) out_.rgba[pixel * 4 + 3] = 0;
      if (alpha_at(out_, pixel) == 0) clear.push_back(static_cast<std::uint32_t>(pixel));
    }
    bleed_colours(out_, clear);
    return std::move(out_);
  }

  /// In 1/1000.
  std::uint32_t border_share() const { return border_share_; }

 private:
  static constexpr std::uint8_t background = 0;
  static constexpr std::uint8_t deep = 255;  // Further inside than any edge.
  static constexpr std::uint32_t none = 0xFFFFFFFF;

  bool is_key(std::size_t pixel) const {
    if (alpha_at(out_, pixel) == 0) return true;
    return has_key_ && distance_squared(to_oklab(rgb_at(out_, pixel)), key_lab_) <= tolerance_;
  }

  bool softened(std::size_t pixel) const { return !soft_.empty() && soft_[pixel]; }

  /// All pixels of the key that are connected with the front, which are marked.
  void flood(std::vector<std::uint32_t>& front) {
    for (std::size_t next = 0; next < front.size(); ++next) {
      for_neighbours(out_, front[next], [&](std::size_t pixel) { reach(pixel, front); });
    }
  }
  void reach(std::size_t pixel, std::vector<std::uint32_t>& front) {
    if (depth_[pixel] == background || !is_key(pixel)) return;
    depth_[pixel] = background;
    front.push_back(static_cast<std::uint32_t>(pixel));
  }

  void find_background() {
    std::vector<std::uint32_t> front;
    std::size_t border = 0;
    for_border(out_, [&](std::size_t pixel) {
      ++border;
      reach(pixel, front);
    });
    border_share_ = static_cast<std::uint32_t>(front.size() * 1000 / border);
    flood(front);
    if (options_.enclosed_px == 0) return;
    std::vector<bool> tried(depth_.size());
    for (std::size_t pixel = 0; pixel < depth_.size(); ++pixel) {
      if (tried[pixel] || depth_[pixel] == background || !is_key(pixel)) continue;
      front.clear();
      reach(pixel, front);
      flood(front);
      const bool large = front.size() >= options_.enclosed_px;
      for (const auto part : front) {
        tried[part] = true;
        if (!large) depth_[part] = deep;
      }
    }
  }

  /// depth_ becomes the number of steps, diagonal ones too, from the background, up to edge_px.
  void find_depths() {
    std::vector<std::uint32_t> ring;
    for (std::size_t pixel = 0; pixel < depth_.size(); ++pixel) {
      if (depth_[pixel] == background) ring.push_back(static_cast<std::uint32_t>(pixel));
    }
    std::vector<std::uint32_t> next;
    for (std::uint32_t step = 1; step <= options_.edge_px; ++step) {
      next.clear();
      for (const auto pixel : ring) {
        for_window(out_, pixel, 1, [&](std::size_t neighbour) {
          if (depth_[neighbour] != deep) return;
          depth_[neighbour] = static_cast<std::uint8_t>(step);
          next.push_back(static_cast<std::uint32_t>(neighbour));
        });
      }
      ring.swap(next);
    }
  }

  /// For each pixel of the edge, and of the background beside it, the pixel further inside that its colour is compared
  /// with: the nearest, in steps; in parts too thin to have an inside, the one least like the key in reach.
  std::vector<std::uint32_t> find_insides(const Image& before) const {
    std::vector<std::uint32_t> inside(depth_.size(), none);
    std::vector<std::uint32_t> front;
    for (std::size_t pixel = 0; pixel < depth_.size(); ++pixel) {
      if (depth_[pixel] != deep) continue;
      inside[pixel] = static_cast<std::uint32_t>(pixel);
      bool beside_edge = false;
      for_neighbours(before, pixel, [&](std::size_t neighbour) { beside_edge |= depth_[neighbour] != deep; });
      if (beside_edge) front.push_back(static_cast<std::uint32_t>(pixel));
    }
    for (std::size_t next = 0; next < front.size(); ++next) {
      const std::size_t from = front[next];
      for_neighbours(before, from, [&](std::size_t pixel) {
        if (inside[pixel] != none || depth_[pixel] == background) return;
        inside[pixel] = inside[from];
        front.push_back(static_cast<std::uint32_t>(pixel));
      });
    }
    for (std::size_t pixel = 0; pixel < depth_.size(); ++pixel) {
      if (inside[pixel] != none || depth_[pixel] == background) continue;
      std::int32_t most = -1;
      for_window(before, pixel, options_.edge_px + 1, [&](std::size_t other) {
        if (depth_[other] == background) return;
        const auto off = channels(rgb_at(before, other)) - key_;
        if (dot(off, off) <= most) return;
        most = dot(off, off);
        inside[pixel] = static_cast<std::uint32_t>(other);
      });
    }
    // Background that touches the edge looks where the edge does. In rising order of pixels, so that one answer is
    // made.
    for (std::size_t pixel = 0; pixel < depth_.size(); ++pixel) {
      if (depth_[pixel] != background) continue;
      for_window(before, pixel, 1, [&](std::size_t neighbour) {
        if (inside[pixel] == none && depth_[neighbour] != background) inside[pixel] = inside[neighbour];
      });
    }
    return inside;
  }

  /// Gives the edge its alpha and colours, from the picture as it was before.
  void soften(const Image& before) {
    constexpr std::int64_t least_alpha = 8;  // Of background: below lies the noise of a decoded picture.
    const auto inside = find_insides(before);
    soft_.resize(depth_.size());
    for (std::size_t pixel = 0; pixel < depth_.size(); ++pixel) {
      if (depth_[pixel] == deep || inside[pixel] == none || alpha_at(before, pixel) != 255) continue;
      const auto inner_rgb = rgb_at(before, inside[pixel]);
      if (distance_squared(to_oklab(inner_rgb), key_lab_) < 4 * tolerance_) continue;
      const auto line = channels(inner_rgb) - key_;
      const auto off = channels(rgb_at(before, pixel)) - key_;
      const std::int64_t length = dot(line, line), along = dot(off, line);
      // Off the line by a third of its length: squared, and times the length once more, to stay with integers.
      const auto aside = dot(off, off) * length - along * along;
      if (9 * aside > length * length) continue;
      // On the key's other side lies an outline, no edge.
      if (along <= 0) continue;
      const auto alpha = std::min<std::int64_t>((along * 255 + length / 2) / length, 255);
      if (alpha == 255 || (depth_[pixel] == background && alpha < least_alpha)) continue;
      auto* const out = out_.rgba.data() + pixel * 4;
      out[3] = static_cast<std::uint8_t>(alpha);
      soft_[pixel] = true;
      if (!options_.despill || alpha == 0) continue;
      for (std::size_t i = 0; i < 3; ++i) {
        // What is left without the key, the more uncertain the less there is of it: there the inside's colour stands
        // in.
        const auto left = std::clamp<std::int64_t>(key_[i] + off[i] * 255 / alpha, 0, 255);
        const auto inner = key_[i] + line[i];
        out[i] = static_cast<std::uint8_t>((left * alpha + inner * (255 - alpha) + 127) / 255);
      }
    }
  }

  const SpriteOptions& options_;
  const std::int64_t tolerance_;
  const Rgb key_;
  const Oklab key_lab_;
  const bool has_key_;
  Image out_;
  std::vector<std::uint8_t> depth_;
  std::vector<bool> soft_;
  std::uint32_t border_share_ = 0;
};

Result<void> check_options(const SpriteOptions& options) {
  const auto check = [](std::uint32_t value, std::uint32_t least, std::uint32_t most,
                        const char* name) -> Result<void> {
    if (value >= least && value <= most) return success();
    return invalid(fmt::format("{} is {}; it must be {} to {}", name, value, least, most));
  };
  GF_TRYV(check(options.key.value_or(0), 0, 0xFFFFFF, "key"));
  GF_TRYV(check(options.tolerance, 1, 1000, "tolerance"));
  GF_TRYV(check(options.border_share, 1, 1000, "border_share"));
  return check(options.edge_px, 0, 8, "edge_px");
}

}  // namespace

Result<Sprite> cut_sprite(const Image& image, const SpriteOptions& options) {
  GF_TRYV(check_image(image));
  GF_TRYV(check_options(options));
  auto key = options.key;
  if (!key) {
    std::vector<std::uint32_t> visible;
    std::size_t border = 0;
    for_border(image, [&](std::size_t pixel) {
      ++border;
      if (alpha_at(image, pixel) != 0) visible.push_back(rgb_at(image, pixel));
    });
    // A border that is transparent already has been cut: what touches it is the subject.
    if ((border - visible.size()) * 1000 < std::size_t{options.border_share} * border) {
      const auto dominant = dominant_colour(visible, border, squared_tolerance(options.tolerance));
      if (dominant.share < options.border_share) {
        return Error{
            Status::not_found,
            fmt::format(
                "the border has no dominant colour: the commonest, #{:06X}, has {}.{}% of its {} pixels within a "
                "tolerance of {}; {}.{}% are needed",
                dominant.rgb, dominant.share / 10, dominant.share % 10, border, options.tolerance,
                options.border_share / 10, options.border_share % 10),
            {}};
      }
      key = dominant.rgb;
    }
  }
  Cutting cutting(image, key.value_or(0), key.has_value(), options);
  auto cut = cutting.cut();
  return Sprite{std::move(cut), key, cutting.border_share()};
}

}  // namespace gf::pipeline
