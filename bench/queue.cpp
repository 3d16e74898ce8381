// The queues' speed: the in-process one by itself and with a journal, the one in Redis beside a bare EVALSHA of as many
// writes. Each prints JSON lines.
//
// gameforge_bench_queue memory [SECONDS]
// gameforge_bench_queue journal FOLDER [SECONDS]  in both durabilities, on the folder's disk
// gameforge_bench_queue redis URL [SECONDS]       on a server that is empty and stays the caller's
#include "queue/memory_queue.hpp"
#include "queue/redis_queue.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

namespace {

using namespace gf;
using namespace gf::queue;

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void print(std::string_view name, double value, std::string_view unit) {
  fmt::print("{{\"name\": \"{}\", \"value\": {:.3f}, \"unit\": \"{}\"}}\n", name, value, unit);
  std::fflush(stdout);
}

template <class T>
T must(Result<T> result) {
  if (!result) {
    fmt::print(stderr, "bench: {}\n", result.error().message);
    std::exit(1);
  }
  return std::move(result).value();
}

NewJob job_of(std::size_t bytes, int user = 0) {
  NewJob job;
  job.user = fmt::format("user {}", user);
  job.payload.assign(bytes, 'x');
  return job;
}

QueueOptions bench_options() {
  QueueOptions options;
  options.depth = {0, 0};
  options.kept_finished = 0;
  options.kept_events = 0;
  return options;
}

/// Cycles a second of `threads` threads that each enqueue, reserve and complete, and the 99th percentile of a reserve.
void memory_cycles(int threads, std::size_t batch, double seconds, std::size_t waiting, const char* name) {
  MemoryQueueOptions wanted;
  wanted.queue = bench_options();
  auto queue = must(MemoryQueue::create(std::move(wanted)));
  for (std::size_t index = 0; index < waiting; ++index) must(queue->enqueue(job_of(64, static_cast<int>(index % 16))));
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> cycles{0};
  std::vector<std::vector<std::int64_t>> samples(static_cast<std::size_t>(threads));
  std::vector<std::thread> running;
  const auto begun = now_ns();
  for (int index = 0; index < threads; ++index) {
    running.emplace_back([&, index] {
      auto& mine = samples[static_cast<std::size_t>(index)];
      mine.reserve(1 << 20);
      ReserveRequest request;
      request.count = static_cast<std::uint32_t>(batch);
      std::uint64_t count = 0;
      const auto job = job_of(64, index);
      while (!over.load(std::memory_order_relaxed)) {
        if (batch == 1) {
          must(queue->enqueue(job));
        } else {
          queue->enqueue_many(std::vector<NewJob>(batch, job));
        }
        const auto from = now_ns();
        auto leases = must(queue->reserve(request));
        if (mine.size() < mine.capacity()) mine.push_back(now_ns() - from);
        if (batch == 1) {
          for (const auto& lease : leases) (void)queue->complete(lease.key);
        } else {
          std::vector<Completion> completions;
          completions.reserve(leases.size());
          for (const auto& lease : leases) completions.push_back({lease.key, {}});
          queue->complete_many(std::move(completions));
        }
        count += leases.size();
      }
      cycles += count;
    });
  }
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  over = true;
  for (auto& thread : running) thread.join();
  const auto elapsed = static_cast<double>(now_ns() - begun) / 1e9;
  print(fmt::format("{}: cycles", name), static_cast<double>(cycles) / elapsed, "1/s");
  std::vector<std::int64_t> all;
  for (auto& some : samples) all.insert(all.end(), some.begin(), some.end());
  std::ranges::sort(all);
  if (!all.empty())
    print(fmt::format("{}: reserve p99", name), static_cast<double>(all[all.size() * 99 / 100]) / 1e3, "us");
}

void memory_bytes(std::size_t payload) {
  MemoryQueueOptions wanted;
  wanted.queue = bench_options();
  auto queue = must(MemoryQueue::create(std::move(wanted)));
  constexpr std::size_t jobs = 1'000'000;
  const auto job = job_of(payload);
  const auto before = ::mallinfo2();
  for (std::size_t index = 0; index < jobs; ++index) must(queue->enqueue(job));
  const auto after = ::mallinfo2();
  // What the allocator gave out, with its own headers, and its mapped pieces.
  const auto bytes =
      static_cast<double>(after.uordblks + after.hblkhd) - static_cast<double>(before.uordblks + before.hblkhd);
  print(fmt::format("memory of a waiting job of {} bytes", payload), bytes / jobs, "bytes");
}

/// Calls of `step` a second, each of which does `worth` things, in `connections` threads.
double rate_of(int connections, double seconds, double worth, const std::function<void(int)>& step) {
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> count{0};
  std::vector<std::thread> threads;
  const auto begun = now_ns();
  for (int index = 0; index < connections; ++index) {
    threads.emplace_back([&, index] {
      std::uint64_t mine = 0;
      for (; !over.load(std::memory_order_relaxed); ++mine) step(index);
      count += mine;
    });
  }
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  over = true;
  for (auto& thread : threads) thread.join();
  return static_cast<double>(count) * worth * 1e9 / static_cast<double>(now_ns() - begun);
}

/// How many commands that write a call of `step` makes in the server, whole: those of its scripts, as the server
/// counts.
int writes_of(redis::Client& client, const std::function<void()>& step) {
  constexpr int calls = 500;
  (void)must(client.call({"CONFIG", "RESETSTAT"}));
  for (int call = 0; call < calls; ++call) step();
  const auto info = must(client.call({"INFO", "commandstats"})).text;
  std::uint64_t writes = 0;
  for (const auto* name : {"hset", "hsetnx", "hdel", "hincrby", "zadd", "zrem", "zpopmin", "lpush", "xadd"}) {
    const auto at = info.find(fmt::format("cmdstat_{}:calls=", name));
    if (at != std::string::npos) writes += std::strtoull(info.c_str() + info.find('=', at) + 1, nullptr, 10);
  }
  return static_cast<int>((writes + calls / 2) / calls);
}

/// Jobs a second with a journal: accepted, and taken and ended; how long a backlog takes to come back.
void journal_bench(const std::string& folder, double seconds, Durability durability, const std::string& name) {
  const auto path = folder + "/gameforge_bench_journal";
  const auto clear = [&] {
    for (const char* end : {"", "-wal", "-journal"}) (void)std::remove((path + end).c_str());
  };
  const auto open = [&] {
    MemoryQueueOptions wanted;
    wanted.queue = bench_options();
    wanted.journal = JournalOptions{path, durability, {}};
    return must(MemoryQueue::create(std::move(wanted)));
  };
  const auto job = job_of(64);
  const auto many = [&](MemoryQueue& queue, std::size_t count) {
    const auto answers = queue.enqueue_many(std::vector<NewJob>(count, job));
    for (const auto& answer : answers) {
      if (!answer) must(Result<Enqueued>(answer));
    }
  };
  clear();
  if (durability == Durability::disk) {
    // What the disk itself gives: a page is written where one was, and waited for.
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    const std::string page(4096, 'x');
    const auto rate = rate_of(1, seconds, 1, [&](int) {
      if (::pwrite(file, page.data(), page.size(), 0) != 4096 || ::fdatasync(file) != 0) std::exit(1);
    });
    ::close(file);
    print("bare write of a page and fdatasync", rate, "1/s");
    clear();
  }
  {
    auto queue = open();
    for (const int threads : {1, 8}) {
      const auto rate = rate_of(threads, seconds, 1, [&](int) { must(queue->enqueue(job)); });
      print(fmt::format("journal, {}: enqueue one by one, threads: {}", name, threads), rate, "1/s");
    }
    for (const std::size_t batch : {std::size_t{16}, std::size_t{1000}}) {
      const auto rate = rate_of(1, seconds, static_cast<double>(batch), [&](int) { many(*queue, batch); });
      print(fmt::format("journal, {}: enqueue {} at a time", name, batch), rate, "1/s");
    }
  }
  clear();
  {
    auto queue = open();
    for (const int threads : {1, 8}) {
      const auto rate = rate_of(threads, seconds, 1, [&](int) {
        must(queue->enqueue(job));
        const auto leases = must(queue->reserve({}));
        for (const auto& lease : leases) must(queue->complete(lease.key));
      });
      print(fmt::format("journal, {}: whole cycle one by one, threads: {}", name, threads), rate, "1/s");
    }
    for (const std::size_t batch : {std::size_t{16}, std::size_t{1000}}) {
      ReserveRequest request;
      request.count = static_cast<std::uint32_t>(batch);
      const auto rate = rate_of(1, seconds, static_cast<double>(batch), [&](int) {
        many(*queue, batch);
        const auto leases = must(queue->reserve(request));
        std::vector<Completion> completions;
        for (const auto& lease : leases) completions.push_back({lease.key, {}});
        queue->complete_many(std::move(completions));
      });
      print(fmt::format("journal, {}: whole cycle {} at a time", name, batch), rate, "1/s");
    }
  }
  clear();
  {
    auto queue = open();
    for (int count = 0; count < 200; ++count) many(*queue, 1000);
  }
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (file != nullptr && std::fseek(file, 0, SEEK_END) == 0) {
    print(fmt::format("journal, {}: the file, a waiting job of 64 bytes", name),
          static_cast<double>(std::ftell(file)) / 200'000, "bytes");
  }
  if (file != nullptr) std::fclose(file);
  const auto from = now_ns();
  const auto queue = open();
  print(fmt::format("journal, {}: opening with 200000 waiting", name), static_cast<double>(now_ns() - from) / 1e6,
        "ms");
  clear();
}

void redis_bench(const std::string& url, double seconds) {
  auto client = must(redis::Client::create(url));
  const std::string payload(64, 'x');
  const auto open = [&](const std::string& name) {
    RedisQueueOptions options;
    options.url = url;
    options.name = name;
    options.queue = bench_options();
    return must(RedisQueue::create(std::move(options)));
  };
  const auto job = job_of(64);
  int enqueue_writes = 0;
  int reserve_writes = 0;
  int complete_writes = 0;
  {
    auto queue = open("counted");
    must(queue->sweep());
    std::vector<LeaseKey> keys;
    enqueue_writes = writes_of(*client, [&] { must(queue->enqueue(job)); });
    must(queue->enqueue(job));  // So that the last take is like the others.
    reserve_writes = writes_of(*client, [&] { keys.push_back(must(queue->reserve({})).at(0).key); });
    std::size_t at = 0;
    complete_writes = writes_of(*client, [&] { must(queue->complete(keys.at(at++))); });
  }
  const int cycle_writes = reserve_writes + complete_writes;
  print("writing commands of an enqueue", enqueue_writes, "");
  print("writing commands of a reserve and a complete", cycle_writes, "");
  (void)client->call({"FLUSHALL"});
  // Bare scripts of as many writes, each of them the cheapest that there is.
  const auto bare_script = [](int writes) {
    return fmt::format("for i = 1, {} do redis.call('HSET', KEYS[1], ARGV[1] .. i, ARGV[2]) end return 1", writes);
  };
  redis::Script bare_enqueue(bare_script(enqueue_writes));
  redis::Script bare_reserve(bare_script(reserve_writes));
  redis::Script bare_complete(bare_script(complete_writes));
  redis::Script bare_cycle(bare_script(cycle_writes));
  std::uint64_t number = 0;
  const auto bare_call = [&](redis::Script& script) {
    return redis::ScriptCall{&script, {"bare"}, {std::to_string(++number % 1000), payload}};
  };
  const auto alone = [&](redis::Script& script, redis::Script& other) {
    return rate_of(1, seconds, 2, [&](int) {
      (void)must(client->run(bare_call(script)));
      (void)must(client->run(bare_call(other)));
    });
  };
  const auto piped = [&](redis::Script& script) {
    return rate_of(1, seconds, 16, [&](int) {
      std::vector<redis::ScriptCall> calls;
      for (int at = 0; at < 16; ++at) calls.push_back(bare_call(script));
      (void)must(client->run_many(calls));
    });
  };
  // Each beside what it is compared with, as near in time as may be.
  {
    auto queue = open("unbatched");
    const auto bare = alone(bare_enqueue, bare_enqueue);
    const auto enqueues = rate_of(1, seconds, 1, [&](int) { must(queue->enqueue(job)); });
    print(fmt::format("bare EVALSHA of {} writes, unpipelined", enqueue_writes), bare, "1/s");
    print("enqueue, one by one", enqueues, "1/s");
    print("enqueue, one by one, of the bare rate", enqueues / bare * 100, "%");
    const auto bare_calls = alone(bare_reserve, bare_complete);
    const auto cycles = rate_of(1, seconds, 1, [&](int) {
      const auto leases = must(queue->reserve({}));
      for (const auto& lease : leases) must(queue->complete(lease.key));
    });
    print(fmt::format("bare EVALSHA of {} and of {} writes in turn, unpipelined", reserve_writes, complete_writes),
          bare_calls, "1/s");
    print("reserve and complete, one by one: calls", cycles * 2, "1/s");
    print("reserve and complete, one by one, of the bare rate", cycles * 2 / bare_calls * 100, "%");
  }
  (void)client->call({"FLUSHALL"});
  constexpr std::size_t batch = 16;
  {
    auto queue = open("batched");
    const auto bare = piped(bare_enqueue);
    const auto enqueues =
        rate_of(1, seconds, batch, [&](int) { queue->enqueue_many(std::vector<NewJob>(batch, job)); });
    print(fmt::format("bare EVALSHA of {} writes, 16 in a pipeline", enqueue_writes), bare, "1/s");
    print("enqueue, 16 at a time", enqueues, "1/s");
    print("enqueue, 16 at a time, of the bare rate in a pipeline", enqueues / bare * 100, "%");
    const auto bare_cycles = piped(bare_cycle);
    ReserveRequest request;
    request.count = batch;
    const auto cycles = rate_of(1, seconds, batch, [&](int) {
      const auto leases = must(queue->reserve(request));
      std::vector<Completion> completions;
      for (const auto& lease : leases) completions.push_back({lease.key, {}});
      queue->complete_many(std::move(completions));
    });
    print(fmt::format("bare EVALSHA of {} writes, 16 in a pipeline", cycle_writes), bare_cycles, "1/s");
    print("reserve and complete, 16 at a time", cycles, "1/s");
    print("reserve and complete, 16 at a time, of the bare rate in a pipeline", cycles / bare_cycles * 100, "%");
  }
  for (const std::size_t waiting : {std::size_t{1000}, std::size_t{1'000'000}}) {
    (void)client->call({"FLUSHALL"});
    auto queue = open("depth");
    for (std::size_t index = 0; index < waiting; index += 500) {
      std::vector<NewJob> jobs;
      for (std::size_t at = 0; at < 500; ++at) jobs.push_back(job_of(64, static_cast<int>(at % 16)));
      queue->enqueue_many(std::move(jobs));
    }
    const auto cycles = rate_of(1, seconds, batch, [&](int) {
      queue->enqueue_many(std::vector<NewJob>(batch, job_of(64)));
      ReserveRequest request;
      request.count = batch;
      const auto leases = must(queue->reserve(request));
      std::vector<Completion> completions;
      for (const auto& lease : leases) completions.push_back({lease.key, {}});
      queue->complete_many(std::move(completions));
    });
    print(fmt::format("whole cycle, 16 at a time, {} waiting", waiting), cycles, "1/s");
  }
  (void)client->call({"FLUSHALL"});
  {
    auto queue = open("latency");
    std::vector<std::int64_t> latencies;
    std::thread worker([&] {
      ReserveRequest request;
      request.timeout_us = std::nullopt;
      for (;;) {
        const auto leases = queue->reserve(request);
        if (!leases) return;
        for (const auto& lease : leases.value()) {
          latencies.push_back(now_ns() / 1000 - std::atoll(lease.payload.c_str()));
          (void)queue->complete(lease.key);
        }
      }
    });
    for (int index = 0; index < 300; ++index) {
      std::this_thread::sleep_for(std::chrono::milliseconds(3));
      auto idle_job = job_of(0);
      idle_job.payload = std::to_string(now_ns() / 1000);
      must(queue->enqueue(std::move(idle_job)));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    queue->close();
    worker.join();
    std::ranges::sort(latencies);
    print("from enqueue to start on an idle worker, median", static_cast<double>(latencies[latencies.size() / 2]),
          "us");
    print("from enqueue to start on an idle worker, p99", static_cast<double>(latencies[latencies.size() * 99 / 100]),
          "us");
  }
  (void)client->call({"FLUSHALL"});
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "memory") {
    const double seconds = argc > 2 ? std::atof(argv[2]) : 2;
    memory_cycles(2, 1, seconds, 0, "two threads, one by one");
    memory_cycles(2, 16, seconds, 0, "two threads, 16 at a time");
    memory_cycles(2, 1, seconds, 1000, "two threads, one by one, 1000 waiting");
    memory_cycles(2, 1, seconds, 1'000'000, "two threads, one by one, 1000000 waiting");
    memory_bytes(64);
    memory_bytes(1024);
    return 0;
  }
  if (what == "journal" && argc > 2) {
    const double seconds = argc > 3 ? std::atof(argv[3]) : 2;
    journal_bench(argv[2], seconds, Durability::disk, "disk");
    journal_bench(argv[2], seconds, Durability::system, "system");
    return 0;
  }
  if (what == "redis" && argc > 2) {
    redis_bench(argv[2], argc > 3 ? std::atof(argv[3]) : 2);
    return 0;
  }
  fmt::print(stderr,
             "usage: gameforge_bench_queue memory [SECONDS] | journal FOLDER [SECONDS] | redis URL [SECONDS]\n");
  return 2;
}
