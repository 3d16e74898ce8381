// A process with a journal, for the tests that kill it, or let it run into limits. It says what it was told, a line of
// its standard output for each answer, before it goes on: "a N" accepted, "t N TOKEN" taken, "d N" done.
//   journal_host run PATH disk|system FIRST   jobs FIRST, FIRST + 1, ... come and are worked on until it is killed
//   journal_host drain PATH                   works until nothing is left; then "state N NAME" for each job
//   journal_host full PATH BYTES              with no file longer than that: accepts until it cannot, then ends its
//   jobs journal_host room PATH                    the same, on a disk that is small journal_host open PATH opens as a
//   user who may not write; "status N" journal_host hold PATH                    "held" when it has the file; ends with
//   its standard input
#include "queue/memory_queue.hpp"

#include <fmt/format.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <grp.h>
#include <sys/resource.h>
#include <unistd.h>

namespace {

using namespace gf;
using namespace gf::queue;

/// In one write, so that lines of several threads stay whole.
void say(const std::string& line) {
  if (::write(1, line.data(), line.size()) != static_cast<ssize_t>(line.size())) std::_Exit(3);
}

Result<std::unique_ptr<MemoryQueue>> open(const std::string& path, Durability durability) {
  MemoryQueueOptions options;
  options.queue.depth = {0, 0};
  options.queue.lease_us = 60'000'000;
  options.queue.max_crashes = 1000;
  options.queue.kept_finished = 1'000'000;
  options.queue.kept_finished_us = max_delay_us;
  options.journal = JournalOptions{path, durability, {}};
  return MemoryQueue::create(std::move(options));
}

std::unique_ptr<MemoryQueue> must_open(const std::string& path, Durability durability) {
  auto queue = open(path, durability);
  if (!queue) {
    say(fmt::format("error {} {}\n", static_cast<int>(queue.error().status), queue.error().message));
    std::_Exit(1);
  }
  return std::move(queue).value();
}

NewJob job_of(std::uint64_t number, std::size_t bytes) {
  NewJob job;
  job.id = JobId{1, number};
  job.user = fmt::format("user {}", number % 5);
  job.priority = static_cast<Priority>(number % 3);
  job.payload.assign(bytes, 'x');
  job.retry = {1000, 0, 0};
  if (number % 11 == 0) job.delay_us = 3000;
  return job;
}

/// Takes, and mostly completes; false when there was nothing.
bool work(MemoryQueue& queue, std::uint64_t& turn) {
  ReserveRequest request;
  request.count = 1 + static_cast<std::uint32_t>(turn % 3);
  request.timeout_us = 2000;
  const auto leases = queue.reserve(request);
  if (!leases || leases.value().empty()) return false;
  for (const auto& lease : leases.value()) {
    say(fmt::format("t {} {}\n", lease.key.id.low, lease.key.fencing_token));
  }
  for (const auto& lease : leases.value()) {
    ++turn;
    if (turn % 8 == 0) {
      (void)queue.release(lease.key);
    } else if (turn % 16 == 1) {
      (void)queue.fail(lease.key, {Status::network_error, "again"});
    } else if (queue.complete(lease.key)) {
      say(fmt::format("d {}\n", lease.key.id.low));
    }
  }
  return true;
}

int run(const std::string& path, Durability durability, std::uint64_t first) {
  auto queue = must_open(path, durability);
  std::atomic<std::uint64_t> next{first};
  std::vector<std::thread> threads;
  for (int index = 0; index < 2; ++index) {
    threads.emplace_back([&, index] {
      for (;;) {
        if (index == 0) {
          const auto number = next++;
          if (queue->enqueue(job_of(number, 50))) say(fmt::format("a {}\n", number));
        } else {
          std::vector<NewJob> jobs;
          for (int count = 0; count < 5; ++count) jobs.push_back(job_of(next++, 700));
          std::vector<std::uint64_t> numbers;
          for (const auto& job : jobs) numbers.push_back(job.id.low);
          const auto answers = queue->enqueue_many(std::move(jobs));
          for (std::size_t at = 0; at < answers.size(); ++at) {
            if (answers[at]) say(fmt::format("a {}\n", numbers[at]));
          }
        }
      }
    });
  }
  for (std::uint64_t index = 0; index < 2; ++index) {
    threads.emplace_back([&queue, turn = index]() mutable {
      for (;;) work(*queue, turn);
    });
  }
  for (auto& thread : threads) thread.join();
  return 0;
}

int drain(const std::string& path) {
  auto queue = must_open(path, Durability::system);
  std::uint64_t turn = 0;
  for (;;) {
    if (work(*queue, turn)) continue;
    const auto s = queue->statistics().value();
    if (s.waiting[0] + s.waiting[1] + s.waiting[2] + s.delayed + s.running == 0) break;
  }
  for (const auto state : {JobState::done, JobState::dead, JobState::cancelled, JobState::expired}) {
    JobFilter filter;
    filter.state = state;
    std::string cursor;
    do {
      const auto page = queue->list(filter, cursor, 1000).value();
      for (const auto& job : page.jobs) {
        say(fmt::format("state {} {} {}\n", job.id.low, name_of(job.state), job.fencing_token));
      }
      cursor = page.cursor;
    } while (!cursor.empty());
  }
  const auto s = queue->statistics().value();
  say(fmt::format("sum {} {}\n", s.totals.accepted,
                  s.totals.done + s.totals.cancelled + s.totals.expired + s.dead + s.totals.removed));
  return 0;
}

/// Until an enqueue is refused; then whatever is in is taken and ended, as far as that can be written.
int fill(const std::string& path) {
  auto queue = must_open(path, Durability::system);
  std::uint64_t number = 0;
  for (; number < 1'000'000;) {
    const auto put = queue->enqueue(job_of(++number, 20'000));
    if (put) {
      say(fmt::format("a {}\n", number));
      continue;
    }
    say(fmt::format("refused {} {}\n", static_cast<int>(put.error().status), put.error().message));
    break;
  }
  for (int turn = 0; turn < 3; ++turn) {
    const auto leases = queue->reserve({});
    if (!leases) {
      say(fmt::format("untaken {}\n", static_cast<int>(leases.error().status)));
      continue;
    }
    for (const auto& lease : leases.value()) {
      say(fmt::format("t {} {}\n", lease.key.id.low, lease.key.fencing_token));
      if (queue->complete(lease.key)) say(fmt::format("d {}\n", lease.key.id.low));
    }
  }
  const auto s = queue->statistics().value();
  say(fmt::format("accepted {}\n", s.totals.accepted));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const std::string_view what = argv[1];
  const std::string path = argv[2];
  if (what == "run" && argc == 5) {
    return run(path, std::string_view(argv[3]) == "disk" ? Durability::disk : Durability::system,
               std::strtoull(argv[4], nullptr, 10));
  }
  if (what == "drain") return drain(path);
  if (what == "full" && argc == 4) {
    (void)std::signal(SIGXFSZ, SIG_IGN);
    const auto bytes = static_cast<rlim_t>(std::strtoull(argv[3], nullptr, 10));
    const rlimit limit{bytes, bytes};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 2;
    return fill(path);
  }
  if (what == "room") return fill(path);
  if (what == "open") {
    if (::geteuid() == 0 && (::setgroups(0, nullptr) != 0 || ::setgid(65534) != 0 || ::setuid(65534) != 0)) return 2;
    const auto queue = open(path, Durability::system);
    say(fmt::format("status {} {}\n", queue ? 0 : static_cast<int>(queue.error().status),
                    queue ? "" : queue.error().message));
    return 0;
  }
  if (what == "hold") {
    const auto queue = must_open(path, Durability::system);
    say("held\n");
    char byte = 0;
    while (::read(0, &byte, 1) > 0) {
    }
    return 0;
  }
  return 2;
}
