#include "progress.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>

#include <unistd.h>

namespace command {
namespace {

constexpr std::uint64_t bar_cells = 32;

}  // namespace

Progress::Progress() : terminal_(::isatty(STDERR_FILENO) == 1) {}

void Progress::show(const gf_event& event) {
  if (!terminal_ || event.type != GF_EVENT_PROGRESS) return;
  std::string what;
  switch (event.stage) {
    case GF_STAGE_LOADING:
      what = fmt::format("loading {} of {} MiB", event.step / 1024, event.total / 1024);
      break;
    case GF_STAGE_ENCODING:
      what = "reading the prompt";
      break;
    case GF_STAGE_SAMPLING:
      what = fmt::format("image {}, step {} of {}", event.image + 1, event.step, event.total);
      break;
    case GF_STAGE_DECODING:
      what = fmt::format("image {}, decoding", event.image + 1);
      break;
    case GF_STAGE_STORING:
      what = "storing";
      break;
    default:
      what = "waiting";
  }
  const auto filled =
      event.total == 0 ? 0 : std::min<std::uint64_t>(bar_cells * std::uint64_t{event.step} / event.total, bar_cells);
  say(fmt::format("[{}{}] {}", std::string(filled, '#'), std::string(bar_cells - filled, '.'), what));
}

void Progress::say(std::string line) {
  if (!terminal_ || line == shown_) return;  // A terminal at the other end of a network pays for every one.
  // ESC [K clears what a longer line has left.
  (void)std::fprintf(stderr, "\r%s\033[K", line.c_str());
  (void)std::fflush(stderr);
  shown_ = std::move(line);
}

void Progress::clear() {
  if (shown_.empty()) return;
  (void)std::fputs("\r\033[K", stderr);
  (void)std::fflush(stderr);
  shown_.clear();
}

}  // namespace command
