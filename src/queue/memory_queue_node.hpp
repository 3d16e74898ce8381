// A job as the in-process queue holds it: seen by the sources of MemoryQueue alone.
#pragma once

#include "queue/memory_queue.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gf::queue {

inline constexpr std::uint32_t sweep_budget = 64;   // Of one call that does something else as well.
inline constexpr std::uint32_t bulk_budget = 1000;  // Of a call on many jobs.

/// What few jobs have, or only once they ran.
struct MemoryQueue::Cold {
  std::vector<Attempt> history;
  Progress progress;
  JobResult result;
  Status end_status = Status::ok;
  std::string end_message;
};

struct MemoryQueue::Node {
  JobId id;
  std::unique_ptr<char[]> blob;  // Payload, then texts: see Texts.
  std::shared_ptr<Attachment> attachment;
  std::unique_ptr<Cold> cold;
  std::int64_t enqueued_us = 0;
  std::int64_t available_us = 0;
  std::int64_t deadline_us = 0;
  std::int64_t started_us = 0;
  std::int64_t ended_us = 0;
  std::int64_t base_us = 0;
  std::int64_t cap_us = 0;
  std::uint64_t sequence = 0;
  std::uint32_t payload_bytes = 0;
  std::uint32_t blob_bytes = 0;
  std::uint32_t user = none;
  std::uint32_t worker = none;
  std::uint32_t timer_at = none;
  std::uint32_t deadline_at = none;
  std::uint32_t previous = none;  // Among finished or dead ones; next: also among free slots.
  std::uint32_t next = none;
  std::uint32_t takes = 0;
  std::uint16_t failures = 0;
  std::uint16_t crashes = 0;
  std::uint16_t max_attempts = 1;
  JobState state = JobState::waiting;
  Priority priority = Priority::normal;
  bool used = false;
  bool cancel_requested = false;
  bool has_key = false;
  bool arriving = false;  // The journal does not have it yet: it counts for the limits, and is in no list or heap.
};

struct MemoryQueue::HeldKey {
  JobId id;
  KeyScope scope = KeyScope::for_time;
  std::int64_t expires_us = 0;
  std::uint32_t expiry_at = none;
};

/// The texts of a job behind its payload: content type, key, number of tags, tags; each with its length in a byte
/// before it, as none is longer than max_name_bytes.
struct MemoryQueue::Texts {
  static_assert(max_name_bytes < 256 && max_tags < 256);

  static std::size_t bytes_of(const NewJob& job) {
    std::size_t bytes = job.content_type.size() + job.idempotency.key.size() + 3;
    for (const auto& tag : job.tags) bytes += tag.size() + 1;
    return bytes;
  }
  static bool any(const NewJob& job) {
    return !job.content_type.empty() || !job.idempotency.key.empty() || !job.tags.empty();
  }
  static void write(const NewJob& job, char* at) {
    const auto put = [&](const std::string& text) {
      *at++ = static_cast<char>(static_cast<unsigned char>(text.size()));
      at = std::copy(text.begin(), text.end(), at);
    };
    put(job.content_type);
    put(job.idempotency.key);
    *at++ = static_cast<char>(job.tags.size());
    for (const auto& tag : job.tags) put(tag);
  }

  /// Whether bytes from outside are texts of a job.
  static bool fits(std::string_view bytes) {
    if (bytes.empty()) return true;
    std::size_t at = 0;
    const auto name = [&](bool may_be_empty) {
      if (at >= bytes.size()) return false;
      const auto size = static_cast<unsigned char>(bytes[at++]);
      if (size > bytes.size() - at) return false;
      const auto text = bytes.substr(at, size);
      at += size;
      return check_name("text", text, may_be_empty).has_value();
    };
    if (!name(true) || !name(true) || at >= bytes.size()) return false;
    const auto tags = static_cast<unsigned char>(bytes[at++]);
    if (tags > max_tags) return false;
    for (unsigned tag = 0; tag < tags; ++tag) {
      if (!name(true)) return false;
    }
    return at == bytes.size();
  }

  explicit Texts(const Node& node) : at_(node.blob.get() + node.payload_bytes) {
    empty_ = node.blob_bytes == node.payload_bytes;
  }
  std::string_view next() {
    if (empty_) return {};
    const auto size = static_cast<unsigned char>(*at_++);
    const std::string_view text(at_, size);
    at_ += size;
    return text;
  }
  std::size_t count() { return empty_ ? 0 : static_cast<unsigned char>(*at_++); }

 private:
  const char* at_;
  bool empty_;
};

inline auto MemoryQueue::id_of() const {
  return [this](std::uint32_t slot) -> const JobId& { return nodes_[slot].id; };
}
inline auto MemoryQueue::timer_place() {
  return [this](std::uint32_t slot) -> std::uint32_t& { return nodes_[slot].timer_at; };
}
inline auto MemoryQueue::deadline_place() {
  return [this](std::uint32_t slot) -> std::uint32_t& { return nodes_[slot].deadline_at; };
}

}  // namespace gf::queue
