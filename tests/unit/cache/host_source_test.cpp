#include "cache/host_source.hpp"

#include "base/platform.hpp"
#include "support/files.hpp"

#include <doctest/doctest.h>

#include <string>

using gf::Status;
using gf::cache::HostSource;
using gf::test::TemporaryFolder;
using gf::test::write_file;

namespace {

constexpr const char* meminfo = "MemTotal:       16000 kB\nMemFree:         2000 kB\nMemAvailable:    9000 kB\n";

}  // namespace

TEST_CASE("the tightest of the machine and of the control groups around the process counts") {
  TemporaryFolder folder;
  const auto proc = folder / "proc";
  const auto groups = folder / "cgroup";
  write_file(proc + "/meminfo", meminfo);
  write_file(proc + "/self/cgroup", "1:name=systemd:/x\n0::/game/tools\n");
  write_file(groups + "/game/tools/memory.max", "max\n");
  write_file(groups + "/game/tools/memory.current", "1000000\n");
  write_file(groups + "/game/memory.max", "6000000\n");
  write_file(groups + "/game/memory.current", "5000000\n");
  write_file(groups + "/game/memory.stat", "anon 3000000\ninactive_file 1500000\nslab 5\n");
  const auto source = HostSource::open(proc, groups).value();
  CHECK(source->group_count() == 2);
  auto memory = source->read(0).value();
  CHECK(memory.total == 6000000);
  CHECK(memory.free == 2500000);  // Of 6000000, less 5000000 of which 1500000 are clean file pages.
  // Read anew each time, through the same descriptors.
  write_file(groups + "/game/memory.current", "6100000\n");
  write_file(groups + "/game/memory.stat", "inactive_file 0\n");
  memory = source->read(0).value();
  CHECK(memory.free == 0);
  write_file(groups + "/game/memory.max", "max\n");
  memory = source->read(0).value();
  CHECK(memory.total == 16000 * 1024);
  CHECK(memory.free == 9000 * 1024);
  CHECK(source->read(1).error().status == Status::invalid_argument);
}

TEST_CASE("files of the kernel that are missing or damaged are an error, or no limit") {
  TemporaryFolder folder;
  CHECK(HostSource::open(folder / "none", folder.path()).error().status == Status::not_found);
  write_file(folder / "meminfo", "MemTotal: 5 kB\n");
  CHECK(HostSource::open(folder.path(), folder.path()).error().status == Status::unsupported_format);
  write_file(folder / "meminfo", meminfo);
  write_file(folder / "self/cgroup", "0::/\n");
  write_file(folder / "memory.max", "nonsense\n");
  write_file(folder / "memory.current", "\n");
  const auto source = HostSource::open(folder.path(), folder.path()).value();
  CHECK(source->group_count() == 1);
  CHECK(source->read(0).value().free == 9000 * 1024);
}

TEST_CASE("this machine's own memory is told") {
  const auto memory = HostSource::open().value()->read(0).value();
  CHECK(memory.total > 0);
  CHECK(memory.free > 0);
  CHECK(memory.free <= memory.total);
  CHECK(memory.total <= gf::physical_memory_bytes());
}
