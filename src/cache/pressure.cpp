#include "cache/pressure.hpp"

namespace gf::cache {

std::string_view name_of(PressureLevel level) {
  constexpr std::array<std::string_view, 4> names = {"none", "moderate", "high", "critical"};
  const auto index = static_cast<std::size_t>(level);
  return index < names.size() ? names[index] : "unknown";
}

std::optional<PressureLevel> PressureGauge::update(double share, std::int64_t now_us) {
  share_ = share;
  const auto before = level_;
  std::uint32_t risen = 0;
  for (std::size_t at = 0; at < rules_.rise.size(); ++at) {
    if (share >= rules_.rise[at]) risen = static_cast<std::uint32_t>(at) + 1;
    if (share >= rules_.rise[at] - rules_.fall_margin) {
      below_since_us_[at].reset();
    } else if (!below_since_us_[at]) {
      below_since_us_[at] = now_us;
    }
  }
  auto level = static_cast<std::uint32_t>(level_);
  if (risen > level) {
    level = risen;
  } else {
    while (level > risen) {
      const auto since = below_since_us_[level - 1];
      if (!since || now_us - *since < rules_.fall_hold_us) break;
      --level;
    }
  }
  level_ = static_cast<PressureLevel>(level);
  return level_ == before ? std::nullopt : std::optional(level_);
}

}  // namespace gf::cache
