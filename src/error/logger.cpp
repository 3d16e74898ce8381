#include "error/logger.hpp"

#include "base/platform.hpp"
#include "base/platform_ticks.hpp"
#include "base/platform_wait.hpp"
#include "base/utf8.hpp"
#include "error/fingerprint.hpp"

#include <fmt/args.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstring>
#include <exception>
#include <limits>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace gf::error {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;
constexpr std::int64_t half_awake_us = 200'000;
constexpr std::int64_t look_every_us = 5'000;
constexpr std::size_t longest_value = 512;
constexpr std::size_t longest_key = 64;
constexpr std::size_t longest_module = 64;
constexpr std::uint32_t wrap_mark = 0xFFFFFFFF;

/// What stands before a record's bytes in a ring. All records begin at multiples of 8.
struct Header {
  std::uint32_t size;  // Of the whole record; wrap_mark: go on at the ring's start.
  std::uint8_t level;
  std::uint8_t fields;
  std::uint8_t module;  // Bytes.
  std::uint8_t flags;
  std::uint32_t message;  // Bytes; of the format, where there are arguments.
  std::uint32_t cut;      // Bytes of the message that were left out.
  std::uint32_t thread;
  std::uint32_t arguments;
  std::int64_t time;  // Ticks, or microseconds since the Unix epoch: see Core::unix_us_of.
};
static_assert(sizeof(Header) == 32);

// What follows a header, in this order: the static texts' addresses, the context, the arguments (kinds of four bits
// each, values, texts), module and message unless they are static, the fields.
constexpr std::uint8_t has_context = 1;
constexpr std::uint8_t has_arguments = 2;
constexpr std::uint8_t is_static = 4;  // Module and message lie in the library.

struct FieldHeader {
  std::uint64_t value;  // The number's bits, or the text's length.
  ValueKind kind;
  std::uint8_t key;  // Bytes.
  std::uint8_t reserved[6];
};
static_assert(sizeof(FieldHeader) == 16);

constexpr std::size_t rounded(std::size_t size) { return (size + 7) & ~std::size_t{7}; }

// The largest record: half a ring of the smallest size, so that one always fits whole into an empty ring.
static_assert(sizeof(Header) + sizeof(LogContext) + Logger::longest_message + longest_module +
                  Logger::most_fields * (sizeof(FieldHeader) + longest_key + longest_value) + 64 <=
              32768);
static_assert(Logger::longest_format + 8 + Logger::most_arguments * (8 + longest_value) <=
              Logger::longest_message + 1024);
static_assert(Logger::most_arguments * 4 <= 64);

/// Nanoseconds, for the rate of the ticks.
std::int64_t steady_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// Whether a format from outside is one that costs no more than it shows: widths and precisions of at most four digits,
/// and none that an argument gives.
bool is_bounded_format(std::string_view format) {
  int digits = 0;
  bool inside = false;
  for (std::size_t at = 0; at < format.size(); ++at) {
    const char c = format[at];
    if (c == '{' || c == '}') {
      if (at + 1 < format.size() && format[at + 1] == c && !inside) {
        ++at;  // "{{" and "}}".
        continue;
      }
      if (inside && c == '{') return false;
      inside = c == '{';
      digits = 0;
      continue;
    }
    digits = inside && c >= '0' && c <= '9' ? digits + 1 : 0;
    if (digits > 4) return false;
  }
  return true;
}

std::int64_t steady_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// Numbers loggers, so that a thread's remembered ring is not taken for another logger's at the same address.
constinit std::atomic<std::uint64_t> last_logger_number{0};

}  // namespace

// Each side has a cache line of its own, which is what the padding is for.
// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding)
struct Logger::Ring {
  explicit Ring(std::uint32_t bytes) : size(bytes), memory(std::make_unique_for_overwrite<std::byte[]>(bytes)) {}

  const std::uint64_t size;  // A power of two.
  const std::unique_ptr<std::byte[]> memory;
  std::uint32_t thread = 0;  // The owner's.
  std::atomic<bool> abandoned{false};
  // The writer's side. Positions only rise; modulo the size they are places.
  alignas(64) std::atomic<std::uint64_t> tail{0};
  std::uint64_t seen_head = 0;
  std::array<std::atomic<std::uint64_t>, 5> dropped{};
  std::atomic<std::uint64_t> written{0};
  std::atomic_flag taken = ATOMIC_FLAG_INIT;  // Of the shared ring, while a thread writes.
  // The back end's side.
  alignas(64) std::atomic<std::uint64_t> head{0};
  std::array<std::uint64_t, 5> told{};  // Of `dropped`, what was told.

  bool has_room(std::size_t need) noexcept {
    const auto at = tail.load(relaxed);
    const auto left_in_turn = size - (at & (size - 1));
    const auto whole = need <= left_in_turn ? need : left_in_turn + need;
    if (at + whole - seen_head <= size) return true;
    seen_head = head.load(std::memory_order_acquire);
    return at + whole - seen_head <= size;
  }
};

/// What a thread has of all loggers. Tells each ring when the thread ends, so that another may have it.
struct Logger::RingsOfThread {
  struct Known {
    std::uint64_t logger;
    std::shared_ptr<Ring> ring;
  };
  std::vector<Known> known;

  ~RingsOfThread();
};

struct Logger::Core {
  explicit Core(const LoggerOptions& given)
      : options(given),
        clock(given.clock != nullptr ? *given.clock : system_clock()),
        by_ticks(given.clock == nullptr && has_steady_ticks()),
        sleeper_fences(!given.polled && has_all_threads_fence()),
        number(last_logger_number.fetch_add(1, relaxed) + 1),
        process(process_number()),
        shared(std::make_shared<Ring>(given.ring_bytes)),
        slots(std::make_unique<Slot[]>(given.ring_limit + 1)),
        begun_ticks(ticks()),
        begun_ns(steady_ns()) {
    slots[0].ring = shared;
    slots[0].there.store(shared.get());
    cursors.reserve(given.ring_limit + 1);
  }

  // Writers' side.
  void wake() noexcept {
    signal.fetch_add(1, std::memory_order_seq_cst);
    wake_all(signal);
  }
  bool wait_for_room(Ring& ring, std::size_t need, LogLevel level) noexcept;
  std::shared_ptr<Ring> acquire_ring();
  bool is_child() const noexcept { return process_number() != process; }

  // The back end's.
  void run() noexcept;
  std::size_t drain(std::size_t limit);
  void tell_losses();
  void process_record(const Header& header, const std::byte* bytes);
  void render(std::string_view format, std::span<const LogArgument> arguments, bool checked);
  bool holds_back(const LogRecord& record, std::uint64_t kind);
  void look_at_clock();
  std::int64_t unix_us_of(std::int64_t time);
  void keep_now(LogLevel level, std::string_view module, std::string_view message) noexcept;
  void tell_repeats(bool all);
  void hand_on(const LogRecord& record);
  void flush_outputs();
  void failed(std::string_view why);
  bool is_empty() const;

  const LoggerOptions options;
  const Clock& clock;
  const bool by_ticks;
  const bool sleeper_fences;
  const std::uint64_t number;
  const std::int64_t process;
  const std::shared_ptr<Ring> shared;

  /// Rings are added and never taken away. No lock: a writer that is preempted must not hold up who reads.
  struct Slot {
    std::shared_ptr<Ring> ring;  // Written once, before `there`.
    std::atomic<Ring*> there{nullptr};
  };
  const std::unique_ptr<Slot[]> slots;  // The shared one first; ring_limit + 1.
  std::atomic<std::uint32_t> ring_count{1};

  std::atomic<std::uint32_t> signal{0};
  std::atomic<std::uint32_t> sleep{0};  // 0 at work, 1 half awake, 2 asleep.
  std::atomic<bool> closed{false};
  std::atomic<std::uint32_t> flush_wanted{0};
  std::atomic<std::uint32_t> flush_done{0};
  std::atomic<std::uint32_t> ended{0};
  std::mutex close_mutex;
  std::thread thread;  // Guarded by close_mutex.

  // The back end's own; where there is none, guarded by poll_mutex.
  std::mutex poll_mutex;
  std::shared_ptr<PollOutput> polled;
  struct Cursor {
    Ring* ring;
    std::uint64_t end;
  };
  std::vector<Cursor> cursors;
  std::array<std::uint64_t, 5> lost_here{};  // Lines that there was no memory for, not told yet.
  const std::uint64_t begun_ticks;
  const std::int64_t begun_ns;
  std::uint64_t now_ticks = 0;
  std::int64_t now_unix_us = 0;
  double us_a_tick = 0;
  std::int64_t last_unix_us = 0;
  struct Repeats {
    std::uint64_t key = 0;
    std::int64_t begun_us = 0;
    std::uint32_t shown = 0;
    std::uint64_t left_out = 0;
    LogLevel level = LogLevel::info;
    std::uint32_t thread = 0;
    std::string module;
    std::string message;
  };
  std::array<Repeats, 256> repeats;
  std::uint32_t repeats_held = 0;
  fmt::dynamic_format_arg_store<fmt::format_context> format_store;
  std::string scratch;
  std::string message_text;
  std::vector<std::string> value_texts;
  std::vector<LogField> field_list;
  std::int64_t told_failure_us = 0;
  std::int64_t looked_us = 0;
  // Statistics: written by the back end, read by any.
  std::atomic<std::uint64_t> shown{0};
  std::atomic<std::uint64_t> left_out{0};
  std::atomic<std::uint64_t> output_failures{0};
  std::atomic<std::uint64_t> masked{0};
  std::atomic<std::uint64_t> wake_ups{0};
  std::atomic<std::uint64_t> format_errors{0};
  std::atomic<std::uint64_t> recursive{0};
  std::array<std::atomic<std::uint64_t>, 5> no_memory{};
};

namespace {

/// The ring of the logger that this thread wrote to last.
struct RememberedRing {
  std::uint64_t logger = 0;
  void* ring = nullptr;
  std::uint64_t own = 0;  // The logger whose back end this thread is.
  bool ended = false;     // The thread's list is gone: it writes to shared rings from here on.
};
thread_local constinit RememberedRing remembered;

}  // namespace

Logger::RingsOfThread::~RingsOfThread() {
  remembered.logger = 0;
  remembered.ring = nullptr;
  remembered.ended = true;
  for (auto& entry : known) entry.ring->abandoned.store(true, std::memory_order_release);
}

// ---- Writers ----

Logger::Ring* Logger::ring_of_thread() noexcept {
  if (remembered.logger == core_->number) return static_cast<Ring*>(remembered.ring);
  if (remembered.ended || core_->is_child()) return core_->shared.get();
  try {
    static thread_local RingsOfThread mine;
    for (auto& entry : mine.known) {
      if (entry.logger != core_->number) continue;
      remembered.logger = core_->number;
      remembered.ring = entry.ring.get();
      return entry.ring.get();
    }
    // Rings of loggers that are gone are let go.
    std::erase_if(mine.known, [](const RingsOfThread::Known& entry) { return entry.ring.use_count() == 1; });
    mine.known.reserve(mine.known.size() + 1);
    auto ring = core_->acquire_ring();
    if (!ring) return core_->shared.get();
    remembered.logger = core_->number;
    remembered.ring = ring.get();
    mine.known.push_back({core_->number, std::move(ring)});
    return static_cast<Ring*>(remembered.ring);
  } catch (...) {
    return core_->shared.get();
  }
}

std::shared_ptr<Logger::Ring> Logger::Core::acquire_ring() {
  const auto count = std::min(ring_count.load(std::memory_order_acquire), options.ring_limit + 1);
  for (std::uint32_t index = 1; index < count; ++index) {
    auto* const ring = slots[index].there.load(std::memory_order_acquire);
    if (ring == nullptr) continue;
    bool abandoned = true;
    if (!ring->abandoned.compare_exchange_strong(abandoned, false, std::memory_order_acq_rel)) continue;
    ring->thread = thread_number();
    return slots[index].ring;
  }
  if (count > options.ring_limit) return nullptr;
  auto ring = std::make_shared<Ring>(options.ring_bytes);
  ring->thread = thread_number();
  auto index = ring_count.load(relaxed);
  do {
    if (index > options.ring_limit) return nullptr;
  } while (!ring_count.compare_exchange_weak(index, index + 1, std::memory_order_seq_cst));
  slots[index].ring = ring;
  slots[index].there.store(ring.get(), std::memory_order_seq_cst);
  return ring;
}

bool Logger::Core::wait_for_room(Ring& ring, std::size_t need, LogLevel level) noexcept {
  if (level > options.wait_from || options.full_wait_us == 0 || is_child()) return false;
  const auto end_us = steady_us() + options.full_wait_us;
  do {
    if (closed.load(relaxed)) return false;
    wake();
    std::this_thread::sleep_for(std::chrono::microseconds(100));
    if (ring.has_room(need)) return true;
  } while (steady_us() < end_us);
  return false;
}

/// Room for one record, and where its bytes go next.
struct Logger::Place {
  Ring* ring = nullptr;
  bool is_shared = false;
  std::byte* at = nullptr;
  std::uint64_t end = 0;  // The ring's tail once the record is there.

  void copy(const void* bytes, std::size_t count) noexcept {
    if (count == 0) return;
    std::memcpy(at, bytes, count);
    at += count;
  }
};

bool Logger::is_own_thread() const noexcept { return remembered.own == core_->number; }

bool Logger::claim(std::size_t size, LogLevel level, Place& place) noexcept {
  auto& core = *core_;
  if (core.closed.load(relaxed)) [[unlikely]]
    return false;
  if (remembered.own == core.number) [[unlikely]] {
    core.recursive.fetch_add(1, relaxed);
    return false;
  }
  auto* ring = ring_of_thread();
  place.ring = ring;
  place.is_shared = ring == core.shared.get();
  if (place.is_shared) [[unlikely]] {
    // Held for a copy only. Who cannot have it in time counts as finding it full.
    const auto end_us = steady_us() + std::max<std::int64_t>(core.options.full_wait_us, 100);
    while (ring->taken.test_and_set(std::memory_order_acquire)) {
      if (steady_us() >= end_us || core.is_child()) {
        ring->dropped[static_cast<std::size_t>(level)].fetch_add(1, relaxed);
        return false;
      }
      std::this_thread::yield();
    }
  }
  if (!ring->has_room(size) && !core.wait_for_room(*ring, size, level)) [[unlikely]] {
    ring->dropped[static_cast<std::size_t>(level)].fetch_add(1, relaxed);
    if (place.is_shared) ring->taken.clear(std::memory_order_release);
    return false;
  }
  auto tail = ring->tail.load(relaxed);
  auto offset = tail & (ring->size - 1);
  if (const auto left = ring->size - offset; left < size) {
    std::memcpy(ring->memory.get() + offset, &wrap_mark, sizeof wrap_mark);
    tail += left;
    offset = 0;
  }
  place.at = ring->memory.get() + offset;
  place.end = tail + size;
  return true;
}

void Logger::publish(const Place& place, LogLevel level) noexcept {
  auto& core = *core_;
  auto* const ring = place.ring;
  ring->written.store(ring->written.load(relaxed) + 1, relaxed);
  // Either we see that the back end sleeps, or it sees our line before it does: both sides store, then load.
  std::uint32_t sleeps = 0;
  if (core.sleeper_fences) {
    ring->tail.store(place.end, std::memory_order_release);
    light_fence();
    sleeps = core.sleep.load(relaxed);
  } else {
    ring->tail.store(place.end, std::memory_order_seq_cst);
    sleeps = core.sleep.load(std::memory_order_seq_cst);
  }
  bool filling = false;
  if (sleeps == 1 && place.end - ring->seen_head > ring->size / 2) {
    ring->seen_head = ring->head.load(std::memory_order_acquire);
    filling = place.end - ring->seen_head > ring->size / 2;
  }
  if (place.is_shared) ring->taken.clear(std::memory_order_release);
  if (sleeps == 2 || (sleeps == 1 && (level == LogLevel::error || filling))) {
    // One waker is enough.
    auto expected = sleeps;
    if (core.sleep.compare_exchange_strong(expected, 0, std::memory_order_seq_cst)) core.wake();
  }
}

void Logger::put_arguments(LogLevel level, std::string_view module, std::string_view format,
                           std::span<const LogArgument> arguments) noexcept {
  auto& core = *core_;
  module = module.substr(0, longest_module);
  std::uint64_t kinds = 0;
  std::size_t texts = 0;
  for (std::size_t index = 0; index < arguments.size(); ++index) {
    kinds |= std::uint64_t{static_cast<std::uint8_t>(arguments[index].kind)} << (4 * index);
    if (arguments[index].kind == ValueKind::text) texts += std::min<std::size_t>(arguments[index].value, longest_value);
  }
  const auto size = rounded(sizeof(Header) + 3 * sizeof(std::uint64_t) + 8 * arguments.size() + texts);
  Place place;
  if (!claim(size, level, place)) return;
  Header header;
  header.size = static_cast<std::uint32_t>(size);
  header.level = static_cast<std::uint8_t>(level);
  header.fields = 0;
  header.module = static_cast<std::uint8_t>(module.size());
  header.flags = has_arguments | is_static;
  header.message = static_cast<std::uint32_t>(format.size());
  header.cut = 0;
  header.thread = place.is_shared ? thread_number() : place.ring->thread;
  header.arguments = static_cast<std::uint32_t>(arguments.size());
  header.time = core.by_ticks ? static_cast<std::int64_t>(ticks()) : core.clock.unix_us();
  place.copy(&header, sizeof header);
  const char* const addresses[2] = {format.data(), module.data()};
  place.copy(addresses, sizeof addresses);
  place.copy(&kinds, sizeof kinds);
  for (const auto& argument : arguments) {
    const auto value =
        argument.kind == ValueKind::text ? std::min<std::uint64_t>(argument.value, longest_value) : argument.value;
    place.copy(&value, sizeof value);
  }
  if (texts > 0) {
    for (const auto& argument : arguments) {
      if (argument.kind != ValueKind::text) continue;
      place.copy(argument.text, std::min<std::size_t>(argument.value, longest_value));
    }
  }
  publish(place, level);
  if (core.options.polled && core.options.crash_note) core.keep_now(level, module, format);
}

// NOLINTNEXTLINE(bugprone-exception-escape): see its declaration.
void Logger::put(LogLevel level, std::string_view module, std::string_view message, const LogContext& context,
                 std::span<const LogField> fields, const std::span<const LogArgument>* arguments) noexcept {
  auto& core = *core_;
  module = module.substr(0, longest_module);
  // A format that is cut is no format any more.
  std::span<const LogArgument> used;
  const bool is_format = arguments != nullptr && message.size() <= longest_format;
  if (arguments != nullptr && !is_format) core.format_errors.fetch_add(1, relaxed);
  if (is_format) used = arguments->first(std::min(arguments->size(), most_arguments));
  const auto shown_message = message.substr(0, longest_message);
  fields = fields.first(std::min(fields.size(), most_fields));
  const bool with_context = !context.job.is_nil() || context.trace.is_set();
  auto size = sizeof(Header) + (with_context ? sizeof(LogContext) : 0) + module.size() + shown_message.size();
  std::uint64_t kinds = 0;
  if (is_format) {
    size += sizeof kinds + 8 * used.size();
    for (std::size_t index = 0; index < used.size(); ++index) {
      kinds |= std::uint64_t{static_cast<std::uint8_t>(used[index].kind)} << (4 * index);
      if (used[index].kind == ValueKind::text) size += std::min<std::size_t>(used[index].value, longest_value);
    }
  }
  for (const auto& field : fields) {
    size += sizeof(FieldHeader) + std::min(field.key.size(), longest_key);
    if (const auto* text = std::get_if<std::string_view>(&field.value)) size += std::min(text->size(), longest_value);
  }
  size = rounded(size);
  Place place;
  if (!claim(size, level, place)) return;

  Header header{};
  header.size = static_cast<std::uint32_t>(size);
  header.level = static_cast<std::uint8_t>(level);
  header.fields = static_cast<std::uint8_t>(fields.size());
  header.module = static_cast<std::uint8_t>(module.size());
  header.flags = static_cast<std::uint8_t>((with_context ? has_context : 0) | (is_format ? has_arguments : 0));
  header.message = static_cast<std::uint32_t>(shown_message.size());
  header.cut = static_cast<std::uint32_t>(
      std::min<std::size_t>(message.size() - shown_message.size(), std::numeric_limits<std::uint32_t>::max()));
  header.thread = place.is_shared ? thread_number() : place.ring->thread;
  header.arguments = static_cast<std::uint32_t>(used.size());
  header.time = core.by_ticks ? static_cast<std::int64_t>(ticks()) : core.clock.unix_us();
  place.copy(&header, sizeof header);
  if (with_context) place.copy(&context, sizeof context);
  if (is_format) {
    place.copy(&kinds, sizeof kinds);
    for (const auto& argument : used) {
      const auto value =
          argument.kind == ValueKind::text ? std::min<std::uint64_t>(argument.value, longest_value) : argument.value;
      place.copy(&value, sizeof value);
    }
    for (const auto& argument : used) {
      if (argument.kind != ValueKind::text) continue;
      place.copy(argument.text, std::min<std::size_t>(argument.value, longest_value));
    }
  }
  place.copy(module.data(), module.size());
  place.copy(shown_message.data(), shown_message.size());
  for (const auto& field : fields) {
    FieldHeader head{};
    const auto key = field.key.substr(0, longest_key);
    head.key = static_cast<std::uint8_t>(key.size());
    std::string_view text;
    std::visit(
        [&](const auto& value) {
          using Value = std::decay_t<decltype(value)>;
          if constexpr (std::is_same_v<Value, std::string_view>) {
            text = value.substr(0, longest_value);
            head.kind = ValueKind::text;
            head.value = text.size();
          } else if constexpr (std::is_same_v<Value, bool>) {
            head.kind = ValueKind::truth;
            head.value = value ? 1 : 0;
          } else {
            head.kind = std::is_same_v<Value, double>         ? ValueKind::real
                        : std::is_same_v<Value, std::int64_t> ? ValueKind::integer
                                                              : ValueKind::natural;
            head.value = std::bit_cast<std::uint64_t>(value);
          }
        },
        field.value);
    place.copy(&head, sizeof head);
    place.copy(key.data(), key.size());
    place.copy(text.data(), text.size());
  }
  publish(place, level);
  if (core.options.polled && core.options.crash_note) core.keep_now(level, module, shown_message);
}

// Where nobody drains the rings while the host does not poll, a crash note must hear of a line from who writes it.
void Logger::Core::keep_now(LogLevel level, std::string_view module, std::string_view message) noexcept {
  try {
    std::string text(message.substr(0, 2 * CrashNote::line_bytes));
    mask_secrets(text);
    LogRecord record;
    record.level = level;
    record.unix_us = clock.unix_us();
    record.thread = thread_number();
    record.module = module;
    record.message = text;
    std::string line;
    append_text(line, record);
    options.crash_note->keep(line);
  } catch (...) {  // NOLINT(bugprone-empty-catch): without memory the note has one line less.
  }
}

// ---- The back end ----

bool Logger::Core::is_empty() const {
  const auto count = ring_count.load(std::memory_order_seq_cst);
  for (std::uint32_t index = 0; index < count; ++index) {
    const auto* const ring = slots[index].there.load(std::memory_order_seq_cst);
    // One that is not there yet is looked for again by who brings it: they write, then see that we sleep.
    if (ring != nullptr && ring->head.load(relaxed) != ring->tail.load(std::memory_order_seq_cst)) return false;
  }
  return true;
}

void Logger::Core::look_at_clock() {
  if (!by_ticks) return;
  // Both at the same moment, or nearly: a look that was interrupted is taken again.
  for (int attempt = 0; attempt < 8; ++attempt) {
    const auto before = ticks();
    now_unix_us = clock.unix_us();
    const auto now_ns = steady_ns();
    now_ticks = ticks();
    const auto passed = static_cast<double>(now_ticks - begun_ticks);
    us_a_tick = passed > 0 ? static_cast<double>(now_ns - begun_ns) / 1000 / passed : 0;
    if (static_cast<double>(now_ticks - before) * us_a_tick < 2) break;
  }
}

std::int64_t Logger::Core::unix_us_of(std::int64_t time) {
  if (!by_ticks) return time;
  const auto age_us =
      static_cast<double>(static_cast<std::int64_t>(now_ticks - static_cast<std::uint64_t>(time))) * us_a_tick;
  auto out = now_unix_us - static_cast<std::int64_t>(age_us);
  // The looks at the clock differ by a little; lines in order shall not seem out of it.
  if (out < last_unix_us && last_unix_us - out < 50) out = last_unix_us;
  last_unix_us = out;
  return out;
}

void Logger::Core::run() noexcept {
  remembered.own = number;
  std::int64_t half_awake_until_us = 0;
  std::uint32_t done = 0;
  for (;;) {
    const auto seen = signal.load(std::memory_order_seq_cst);
    // Read before the rings, so that what was written before the wish is in them.
    const auto wanted = flush_wanted.load(std::memory_order_seq_cst);
    const bool closing = closed.load(std::memory_order_seq_cst);
    std::size_t records = 0;
    try {
      records = drain(std::numeric_limits<std::size_t>::max());
      tell_losses();
      tell_repeats(wanted != done || closing);
    } catch (const std::exception& caught) {
      failed(caught.what());
    }
    if (records > 0 || wanted != done || closing) flush_outputs();
    const auto now_us = steady_us();
    if (records > 0) {
      half_awake_until_us = now_us + half_awake_us;
      if (now_us - looked_us >= 1'000'000) {
        looked_us = now_us;
        for (const auto& output : options.outputs) {
          try {
            output->look_around(now_us);
          } catch (...) {
            failed("an output threw while it looked after itself");
          }
        }
      }
    }
    if (wanted != done) {
      done = wanted;
      flush_done.store(done, std::memory_order_release);
      wake_all(flush_done);
    }
    if (closing) break;
    if (now_us < half_awake_until_us || repeats_held > 0) {
      sleep.store(1, std::memory_order_seq_cst);
      // Lines that came while the state changed are seen at the next look.
      wait_on(signal, seen, look_every_us);
    } else {
      sleep.store(2, std::memory_order_seq_cst);
      if (sleeper_fences) all_threads_fence();
      if (is_empty()) wait_on(signal, seen, -1);
    }
    sleep.store(0, std::memory_order_seq_cst);
    wake_ups.fetch_add(1, relaxed);
  }
  ended.store(1, std::memory_order_release);
  wake_all(ended);
}

std::size_t Logger::Core::drain(std::size_t limit) {
  cursors.clear();
  const auto count = ring_count.load(std::memory_order_acquire);
  for (std::uint32_t index = 0; index < count; ++index) {
    auto* const ring = slots[index].there.load(std::memory_order_acquire);
    if (ring == nullptr) continue;
    const auto end = ring->tail.load(std::memory_order_acquire);
    if (ring->head.load(relaxed) != end) cursors.push_back({ring, end});
  }
  if (cursors.empty()) return 0;
  look_at_clock();
  std::size_t records = 0;
  const auto header_of = [](Ring& ring) {
    Header header;
    for (;;) {
      const auto head = ring.head.load(relaxed);
      const auto place = head % ring.size;
      std::uint32_t size = 0;
      std::memcpy(&size, ring.memory.get() + place, sizeof size);
      if (size != wrap_mark) {
        std::memcpy(&header, ring.memory.get() + place, sizeof header);
        return header;
      }
      ring.head.store(head + ring.size - place, std::memory_order_release);
    }
  };
  while (!cursors.empty() && records < limit) {
    std::size_t first = 0;
    auto header = header_of(*cursors[0].ring);
    for (std::size_t index = 1; index < cursors.size(); ++index) {
      const auto other = header_of(*cursors[index].ring);
      if (other.time < header.time) {
        header = other;
        first = index;
      }
    }
    auto& ring = *cursors[first].ring;
    const auto head = ring.head.load(relaxed);
    try {
      process_record(header, ring.memory.get() + head % ring.size + sizeof(Header));
    } catch (const std::exception& caught) {
      ++lost_here[header.level];
      no_memory[header.level].fetch_add(1, relaxed);
      failed(caught.what());
    }
    ++records;
    ring.head.store(head + header.size, std::memory_order_release);
    if (head + header.size == cursors[first].end) cursors.erase(cursors.begin() + static_cast<std::ptrdiff_t>(first));
  }
  return records;
}

void Logger::Core::process_record(const Header& header, const std::byte* bytes) {
  const auto take = [&bytes](void* into, std::size_t count) {
    std::memcpy(into, bytes, count);
    bytes += count;
  };
  const auto text = [&bytes](std::size_t count) {
    const std::string_view out(reinterpret_cast<const char*>(bytes), count);
    bytes += count;
    return out;
  };
  LogRecord record;
  record.level = static_cast<LogLevel>(header.level);
  record.unix_us = unix_us_of(header.time);
  record.thread = header.thread;
  const char* addresses[2] = {};
  if ((header.flags & is_static) != 0) take(addresses, sizeof addresses);
  if ((header.flags & has_context) != 0) take(&record.context, sizeof record.context);
  std::array<LogArgument, most_arguments> arguments;
  if ((header.flags & has_arguments) != 0) {
    std::uint64_t kinds = 0;
    take(&kinds, sizeof kinds);
    for (std::uint32_t index = 0; index < header.arguments; ++index) {
      arguments[index].kind = static_cast<ValueKind>(kinds >> (4 * index) & 15);
      take(&arguments[index].value, sizeof arguments[index].value);
    }
    for (std::uint32_t index = 0; index < header.arguments; ++index) {
      if (arguments[index].kind == ValueKind::text) {
        arguments[index].text = text(static_cast<std::size_t>(arguments[index].value)).data();
      }
    }
  }
  std::string_view message;
  if ((header.flags & is_static) != 0) {
    record.module = {addresses[1], header.module};
    message = {addresses[0], header.message};
  } else {
    record.module = text(header.module);
    message = text(header.message);
  }
  // What is limited as one: the format's lines where there is one that says anything, else texts that look alike.
  std::uint64_t kind = 0;
  if ((header.flags & has_arguments) != 0) {
    render(message, {arguments.data(), header.arguments}, (header.flags & is_static) != 0);
    if (message.size() > 2) kind = fingerprint_of_text(message);
  } else {
    message_text = message;
  }
  std::size_t cut = header.cut;
  if (message_text.size() > longest_message) {
    cut += message_text.size() - longest_message;
    message_text.resize(longest_message);
  }
  if (cut > 0) {
    // Not in the middle of a letter.
    const auto whole = message_text.size();
    while (!message_text.empty() && (static_cast<unsigned char>(message_text.back()) & 0xC0) == 0x80) {
      message_text.pop_back();
    }
    if (!message_text.empty() && static_cast<unsigned char>(message_text.back()) >= 0xC0) message_text.pop_back();
    message_text += fmt::format("... ({} bytes more)", cut + whole - message_text.size());
  }
  bool hid = mask_secrets(message_text);
  field_list.clear();
  value_texts.resize(header.fields);
  for (std::uint8_t index = 0; index < header.fields; ++index) {
    FieldHeader head;
    take(&head, sizeof head);
    LogField field;
    field.key = text(head.key);
    switch (head.kind) {
      case ValueKind::text: {
        auto& value = value_texts[index];
        value = text(static_cast<std::size_t>(head.value));
        if (is_secret_key(field.key)) {
          value = "***";
          hid = true;
        } else {
          hid = mask_secrets(value) || hid;
        }
        field.value = std::string_view(value);
        break;
      }
      case ValueKind::integer:
        field.value = std::bit_cast<std::int64_t>(head.value);
        break;
      case ValueKind::natural:
        field.value = head.value;
        break;
      case ValueKind::real:
        field.value = std::bit_cast<double>(head.value);
        break;
      case ValueKind::truth:
        field.value = head.value != 0;
        break;
    }
    field_list.push_back(field);
  }
  if (hid) masked.fetch_add(1, relaxed);
  record.message = message_text;
  record.fields = field_list;
  if (options.repeats_per_s == 0 || !holds_back(record, kind != 0 ? kind : fingerprint_of_text(record.message))) {
    hand_on(record);
  }
}

/// `checked`: by the compiler, and of our own.
void Logger::Core::render(std::string_view format, std::span<const LogArgument> arguments, bool checked) {
  message_text.clear();
  const auto with_value = [](const LogArgument& argument, auto&& use) {
    switch (argument.kind) {
      case ValueKind::text:
        return use(std::string_view(argument.text, static_cast<std::size_t>(argument.value)));
      case ValueKind::integer:
        return use(std::bit_cast<std::int64_t>(argument.value));
      case ValueKind::natural:
        return use(argument.value);
      case ValueKind::real:
        return use(std::bit_cast<double>(argument.value));
      case ValueKind::truth:
        return use(argument.value != 0);
    }
  };
  if (checked || is_bounded_format(format)) {
    format_store.clear();
    for (const auto& argument : arguments) with_value(argument, [&](auto value) { format_store.push_back(value); });
    try {
      fmt::vformat_to(std::back_inserter(message_text), fmt::string_view(format.data(), format.size()), format_store);
      return;
    } catch (const fmt::format_error&) {  // NOLINT(bugprone-empty-catch): it is shown as it came, below.
    }
  }
  format_errors.fetch_add(1, relaxed);
  message_text = format;
  for (const auto& argument : arguments) {
    with_value(argument, [&](auto value) { fmt::format_to(std::back_inserter(message_text), " [{}]", value); });
  }
}

/// `kind`: of lines that are limited as one.
bool Logger::Core::holds_back(const LogRecord& record, std::uint64_t kind) {
  auto key = kind ^ static_cast<std::uint64_t>(record.level) << 60;
  for (const char c : record.module) key = (key ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  auto& entry = repeats[key % repeats.size()];
  const bool over = record.unix_us - entry.begun_us >= 1'000'000 || record.unix_us < entry.begun_us;
  if (entry.key != key || over) {
    if (entry.left_out > 0) {
      LogRecord told;
      told.level = entry.level;
      told.unix_us = record.unix_us;
      told.thread = entry.thread;
      told.module = entry.module;
      told.message = entry.message;
      told.repeated = entry.left_out;
      hand_on(told);
      entry.left_out = 0;
      --repeats_held;
    }
    entry.key = key;
    entry.begun_us = record.unix_us;
    entry.shown = 1;
    return false;
  }
  if (entry.shown < options.repeats_per_s) {
    ++entry.shown;
    return false;
  }
  if (entry.left_out == 0) {
    // The last one's text stands for all: numbers in it may differ.
    entry.level = record.level;
    entry.thread = record.thread;
    entry.module = record.module;
    entry.message = record.message;
    ++repeats_held;
  }
  ++entry.left_out;
  left_out.fetch_add(1, relaxed);
  return true;
}

void Logger::Core::tell_repeats(bool all) {
  if (repeats_held == 0) return;
  const auto now_us = clock.unix_us();
  for (auto& entry : repeats) {
    if (entry.left_out == 0 || (!all && now_us - entry.begun_us < 1'000'000 && now_us >= entry.begun_us)) continue;
    LogRecord told;
    told.level = entry.level;
    told.unix_us = now_us;
    told.thread = entry.thread;
    told.module = entry.module;
    told.message = entry.message;
    told.repeated = entry.left_out;
    entry.left_out = 0;
    --repeats_held;
    hand_on(told);
    flush_outputs();
  }
}

void Logger::Core::tell_losses() {
  std::array<std::uint64_t, 5> lost{};
  std::uint64_t all = 0;
  for (std::size_t level = 0; level < lost.size(); ++level) {
    lost[level] = std::exchange(lost_here[level], 0);
    all += lost[level];
  }
  const auto count = ring_count.load(std::memory_order_acquire);
  for (std::uint32_t index = 0; index < count; ++index) {
    auto* const ring = slots[index].there.load(std::memory_order_acquire);
    if (ring == nullptr) continue;
    for (std::size_t level = 0; level < lost.size(); ++level) {
      const auto dropped = ring->dropped[level].load(relaxed);
      lost[level] += dropped - ring->told[level];
      all += dropped - ring->told[level];
      ring->told[level] = dropped;
    }
  }
  if (all == 0) return;
  const auto text = fmt::format("{} lines were lost for want of room: {} of level error, {} warning, {} info, {} debug",
                                all, lost[1], lost[2], lost[3], lost[4]);
  LogRecord record;
  record.level = lost[1] > 0 ? LogLevel::error : LogLevel::warning;
  record.unix_us = clock.unix_us();
  record.module = "log";
  record.message = text;
  record.dropped = all;
  hand_on(record);
  flush_outputs();
}

void Logger::Core::hand_on(const LogRecord& record) {
  shown.fetch_add(1, relaxed);
  for (const auto& output : options.outputs) {
    try {
      if (const auto wrote = output->write(record); !wrote) failed(wrote.error().message);
    } catch (const std::bad_alloc&) {
      if (options.polled) throw;  // There is no other output, so the line is lost, and counted as such.
      failed("out of memory");
    } catch (const std::exception& caught) {
      failed(caught.what());
    } catch (...) {
      failed("an output threw");
    }
  }
  if (options.crash_note && !options.polled) {
    scratch.clear();
    append_text(scratch, record);
    options.crash_note->keep(scratch);
  }
}

void Logger::Core::flush_outputs() {
  for (const auto& output : options.outputs) {
    try {
      if (const auto flushed = output->flush(); !flushed) failed(flushed.error().message);
    } catch (...) {
      failed("an output threw");
    }
  }
}

void Logger::Core::failed(std::string_view why) {
  output_failures.fetch_add(1, relaxed);
  // The logger does not log: only the crash note hears of it, and now and then.
  const auto now_us = steady_us();
  if (!options.crash_note || (told_failure_us != 0 && now_us - told_failure_us < 60'000'000)) return;
  told_failure_us = now_us;
  try {
    options.crash_note->keep(fmt::format("log output failed: {}", why));
  } catch (...) {  // NOLINT(bugprone-empty-catch): there is nobody left to tell.
  }
}

// ---- Life ----

Logger::Logger(std::shared_ptr<Core> core)
    : core_(std::move(core)), level_(static_cast<std::uint32_t>(core_->options.level)) {}

Result<std::unique_ptr<Logger>> Logger::open(const LoggerOptions& options) {
  const auto invalid = [](std::string_view name, std::int64_t value, std::string_view range) {
    return Error{Status::invalid_argument, fmt::format("{} is {}; it must be {}", name, value, range), {}};
  };
  if (options.level > LogLevel::debug) return invalid("level", static_cast<std::int64_t>(options.level), "0 to 4");
  if (options.wait_from > LogLevel::debug)
    return invalid("wait_from", static_cast<std::int64_t>(options.wait_from), "0 to 4");
  if (!std::has_single_bit(options.ring_bytes) || options.ring_bytes < 65536 || options.ring_bytes > 16u << 20) {
    return invalid("ring_bytes", options.ring_bytes, "a power of two, 65536 to 16777216");
  }
  if (options.ring_limit < 1 || options.ring_limit > 1024)
    return invalid("ring_limit", options.ring_limit, "1 to 1024");
  if (options.full_wait_us < 0 || options.full_wait_us > 1'000'000) {
    return invalid("full_wait_us", options.full_wait_us, "0 to 1000000");
  }
  for (const auto& output : options.outputs) {
    if (!output) return Error{Status::invalid_argument, "an output is null", {}};
  }
  if (options.polled) {
    if (!options.outputs.empty()) {
      return Error{Status::invalid_argument, "outputs are given; a logger that is polled has none", {}};
    }
    auto used = options;
    const auto lines = std::make_shared<PollOutput>();
    used.outputs = {lines};
    auto core = std::make_shared<Core>(used);
    core->polled = lines;
    return std::unique_ptr<Logger>(new Logger(std::move(core)));
  }
  auto core = std::make_shared<Core>(options);
  try {
    core->thread = start_thread("gf-log", [core] { core->run(); });
  } catch (const std::system_error& caught) {
    return Error{Status::io_error, fmt::format("the thread of the log was not started: {}", caught.what()), {}};
  }
  return std::unique_ptr<Logger>(new Logger(std::move(core)));
}

bool Logger::poll(const std::function<bool(const PollOutput::Line&)>& take) {
  auto& core = *core_;
  if (!core.polled) return false;
  std::unique_lock lock(core.poll_mutex, std::try_to_lock);
  if (!lock) {
    if (core.is_child()) return false;  // Who holds it may be a thread of the parent's.
    lock.lock();
  }
  // So many that a poll takes microseconds, whatever waits in the rings.
  constexpr std::size_t batch = 64;
  for (int turn = 0; turn < 256; ++turn) {
    if (core.polled->poll(take)) return true;
    const auto records = core.drain(batch);
    core.tell_losses();
    core.tell_repeats(false);
    if (records == 0) break;
  }
  return core.polled->poll(take);
}

Result<void> Logger::flush(std::int64_t timeout_us) {
  auto& core = *core_;
  if (timeout_us < 0) {
    return Error{Status::invalid_argument, fmt::format("timeout_us is {}; it must be at least 0", timeout_us), {}};
  }
  if (core.closed || core.is_child()) return Error{Status::wrong_state, "the logger is closed", {}};
  if (is_own_thread()) return Error{Status::wrong_state, "the logger cannot be flushed by one of its outputs", {}};
  if (core.polled) return success();
  const auto wanted = core.flush_wanted.fetch_add(1, std::memory_order_seq_cst) + 1;
  core.wake();
  const auto end_us = steady_us() + std::min<std::int64_t>(timeout_us, 3'600'000'000'000);
  for (;;) {
    const auto done = core.flush_done.load(std::memory_order_acquire);
    // Numbers wrap round; what is done may be ahead of our wish.
    if (static_cast<std::int32_t>(done - wanted) >= 0) return success();
    const auto left_us = end_us - steady_us();
    if (left_us <= 0 || core.ended.load(std::memory_order_acquire) != 0) {
      if (core.ended.load(std::memory_order_acquire) != 0 && left_us > 0) return success();  // Closing handed all on.
      return Error{Status::timed_out, fmt::format("the outputs did not take the lines within {} us", timeout_us), {}};
    }
    wait_on(core.flush_done, done, std::min<std::int64_t>(left_us, 50'000));
  }
}

Result<void> Logger::close(std::int64_t timeout_us) {
  auto& core = *core_;
  if (timeout_us < 0) {
    return Error{Status::invalid_argument, fmt::format("timeout_us is {}; it must be at least 0", timeout_us), {}};
  }
  if (is_own_thread()) return Error{Status::wrong_state, "the logger cannot be closed by one of its outputs", {}};
  core.closed.store(true, std::memory_order_seq_cst);
  const std::lock_guard lock(core.close_mutex);
  if (!core.thread.joinable()) return success();
  if (core.is_child()) {
    core.thread.detach();  // The thread is the parent's.
    return success();
  }
  core.wake();
  const auto end_us = steady_us() + std::min<std::int64_t>(timeout_us, 3'600'000'000'000);
  while (core.ended.load(std::memory_order_acquire) == 0) {
    const auto left_us = end_us - steady_us();
    if (left_us <= 0) {
      core.thread.detach();
      return Error{Status::timed_out, fmt::format("an output did not return within {} us", timeout_us), {}};
    }
    wait_on(core.ended, 0, left_us);
  }
  core.thread.join();
  return success();
}

Logger::~Logger() { (void)close(100'000); }

LoggerStatistics Logger::statistics() const {
  LoggerStatistics out;
  const auto count = core_->ring_count.load(std::memory_order_acquire);
  for (std::uint32_t index = 0; index < count; ++index) {
    const auto* const ring = core_->slots[index].there.load(std::memory_order_acquire);
    if (ring == nullptr) continue;
    out.written += ring->written.load(relaxed);
    for (std::size_t level = 0; level < ring->dropped.size(); ++level) {
      out.dropped[level] += ring->dropped[level].load(relaxed);
    }
  }
  for (std::size_t level = 0; level < core_->no_memory.size(); ++level) {
    out.dropped[level] += core_->no_memory[level].load(relaxed);
  }
  out.shown = core_->shown.load(relaxed);
  out.left_out = core_->left_out.load(relaxed);
  out.output_failures = core_->output_failures.load(relaxed);
  out.masked = core_->masked.load(relaxed);
  out.wake_ups = core_->wake_ups.load(relaxed);
  out.format_errors = core_->format_errors.load(relaxed);
  out.recursive = core_->recursive.load(relaxed);
  return out;
}

}  // namespace gf::error
