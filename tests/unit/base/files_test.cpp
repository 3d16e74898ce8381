#include "base/files.hpp"

#include "../../support/files.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

using gf::ReadFile;
using gf::Status;
using gf::test::TemporaryFolder;

namespace {

void put(const std::string& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
  REQUIRE(std::filesystem::file_size(path) == text.size());
}

/// Sets the time of last change far back, so that the next write changes it however coarse the file system's clock is.
void make_old(const std::string& path) {
  const timespec times[2] = {{1'000'000'000, 0}, {1'000'000'000, 0}};
  REQUIRE(utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
}

ReadFile opened(const std::string& path) {
  auto file = ReadFile::open(path);
  REQUIRE(file.has_value());
  return std::move(file.value());
}

std::string bytes_at(const ReadFile& file, std::uint64_t offset, std::size_t count) {
  std::string text(count, '?');
  REQUIRE(file.read_at(offset, std::as_writable_bytes(std::span(text))).has_value());
  return text;
}

}  // namespace

TEST_CASE("a file is read by position, in any order, and knows its size") {
  TemporaryFolder folder;
  put(folder.file("f"), "0123456789");
  const auto file = opened(folder.file("f"));
  CHECK(file.size() == 10);
  CHECK(file.path() == folder.file("f"));
  CHECK(bytes_at(file, 7, 3) == "789");
  CHECK(bytes_at(file, 0, 2) == "01");
  CHECK(bytes_at(file, 10, 0).empty());
}

TEST_CASE("a moved-from file hands its descriptor on once") {
  TemporaryFolder folder;
  put(folder.file("a"), "aaa");
  put(folder.file("b"), "bbb");
  auto first = opened(folder.file("a"));
  auto second = std::move(first);
  CHECK(bytes_at(second, 0, 3) == "aaa");
  second = opened(folder.file("b"));
  CHECK(bytes_at(second, 0, 3) == "bbb");
  CHECK(second.path() == folder.file("b"));
}

TEST_CASE("reading past the end says where the file ends") {
  TemporaryFolder folder;
  put(folder.file("f"), "0123456789");
  const auto file = opened(folder.file("f"));
  std::byte into[8];
  const auto got = file.read_at(6, into);
  REQUIRE(got.has_error());
  CHECK(got.error().status == Status::corrupt_file);
  CHECK(got.error().message.find(folder.file("f")) != std::string::npos);
  CHECK(got.error().message.find("ends at byte 10, 4 bytes before") != std::string::npos);
  CHECK(file.read_at(~std::uint64_t{0} - 100, into).has_error());
}

TEST_CASE("a file that is truncated after it was opened is reported, not crashed on") {
  TemporaryFolder folder;
  put(folder.file("f"), std::string(100'000, 'x'));
  const auto file = opened(folder.file("f"));
  std::filesystem::resize_file(folder.file("f"), 50'000);
  std::vector<std::byte> into(100'000);
  const auto got = file.read_at(0, into);
  REQUIRE(got.has_error());
  CHECK(got.error().status == Status::corrupt_file);
  const auto changed = file.check_unchanged();
  REQUIRE(changed.has_error());
  CHECK(changed.error().status == Status::corrupt_file);
  CHECK(changed.error().message.find("truncated or extended") != std::string::npos);
}

TEST_CASE("what opens but is no regular file is refused at once, a pipe without a writer too") {
  TemporaryFolder folder;
  REQUIRE(mkfifo(folder.file("pipe").c_str(), 0600) == 0);
  for (const auto& path : {folder.file("pipe"), std::string("/dev/null"), folder.path()}) {
    CAPTURE(path);
    const auto file = ReadFile::open(path);
    REQUIRE(file.has_error());
    CHECK(file.error().status == Status::unsupported_format);
    CHECK(file.error().message.starts_with(path));
  }
}

TEST_CASE("a socket is refused as what it is") {
  TemporaryFolder folder;
  const auto path = folder.file("socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  REQUIRE(path.size() < sizeof address.sun_path);
  path.copy(address.sun_path, path.size());
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  REQUIRE(listener >= 0);
  REQUIRE(bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  const auto file = ReadFile::open(path);
  close(listener);
  REQUIRE(file.has_error());
  CHECK(file.error().status == Status::unsupported_format);
}

TEST_CASE("a missing file, a file used as a folder and a name with NUL have their own errors") {
  TemporaryFolder folder;
  put(folder.file("f"), "x");
  CHECK(ReadFile::open(folder.file("none")).error().status == Status::not_found);
  CHECK(ReadFile::open(folder.file("f/below")).error().status == Status::not_found);
  CHECK(ReadFile::open("").error().status == Status::not_found);
  CHECK(ReadFile::open(std::string("f\0g", 3)).error().status == Status::invalid_argument);
  CHECK(ReadFile::open(folder.file(std::string(5000, 'n'))).error().status == Status::invalid_argument);
  CHECK(ReadFile::open(folder.file("none")).error().message.starts_with(folder.file("none") + ": "));
}

TEST_CASE("any change of the opened file is seen, and none is not") {
  TemporaryFolder folder;
  const auto path = folder.file("weights");
  put(path, "0123456789");
  make_old(path);
  const auto file = opened(path);
  CHECK(file.check_unchanged().has_value());

  SUBCASE("overwritten in place with as many bytes") {
    std::fstream(path, std::ios::in | std::ios::out | std::ios::binary) << "X";
  }
  SUBCASE("extended") { std::ofstream(path, std::ios::app) << "more"; }
  SUBCASE("removed") {
    REQUIRE(unlink(path.c_str()) == 0);
    CHECK(file.check_unchanged().error().message.find("removed") != std::string::npos);
  }
  SUBCASE("replaced by another file with equal bytes and time") {
    put(folder.file("other"), "0123456789");
    make_old(folder.file("other"));
    REQUIRE(std::rename(folder.file("other").c_str(), path.c_str()) == 0);
  }
  SUBCASE("overwritten, and its time set back by hand") {
    std::fstream(path, std::ios::in | std::ios::out | std::ios::binary) << "X";
    // The inode's own time moves with the file system's clock, a few milliseconds a tick.
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    do {
      make_old(path);
    } while (file.check_unchanged().has_value() && std::chrono::steady_clock::now() < deadline);
    struct stat now {};
    REQUIRE(stat(path.c_str(), &now) == 0);
    CHECK(now.st_mtim.tv_sec == 1'000'000'000);
  }
  const auto changed = file.check_unchanged();
  REQUIRE(changed.has_error());
  CHECK(changed.error().status == Status::corrupt_file);
  CHECK(changed.error().message.starts_with(path));
}

TEST_CASE("read_text takes a file of the limit and refuses one byte more") {
  TemporaryFolder folder;
  put(folder.file("f"), std::string("ab\0cd", 5));
  CHECK(gf::read_text(folder.file("f"), 5).value() == std::string("ab\0cd", 5));
  const auto larger = gf::read_text(folder.file("f"), 4);
  REQUIRE(larger.has_error());
  CHECK(larger.error().status == Status::payload_too_large);
  put(folder.file("empty"), "");
  CHECK(gf::read_text(folder.file("empty"), 0).value().empty());
}

TEST_CASE("write_whole makes and replaces a file, and leaves nothing beside it") {
  TemporaryFolder folder;
  const auto path = folder.file("out");
  REQUIRE(gf::write_whole(path, "first").has_value());
  CHECK(gf::read_text(path, 100).value() == "first");
  REQUIRE(gf::write_whole(path, "").has_value());
  CHECK(gf::read_text(path, 100).value().empty());
  REQUIRE(gf::write_whole(path, std::string(3'000'000, 'y')).has_value());
  CHECK(std::filesystem::file_size(path) == 3'000'000);
  CHECK(folder.entries() == 1);
}

TEST_CASE("a name of the longest length that the file system takes can be written") {
  TemporaryFolder folder;
  const auto path = folder.file(std::string(255, 'n'));
  REQUIRE(gf::write_whole(path, "text").has_value());
  CHECK(gf::read_text(path, 10).value() == "text");
  CHECK(gf::write_whole(folder.file(std::string(256, 'n')), "text").error().status == Status::invalid_argument);
  CHECK(folder.entries() == 1);
}

TEST_CASE("write_whole without a folder in the path writes here") {
  TemporaryFolder folder;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  const auto written = gf::write_whole("plain-name", "text");
  std::filesystem::current_path(before);
  REQUIRE(written.has_value());
  CHECK(gf::read_text(folder.file("plain-name"), 10).value() == "text");
}

TEST_CASE("a write that cannot be done leaves the old file and nothing else") {
  TemporaryFolder folder;
  const auto path = folder.file("out");
  REQUIRE(gf::write_whole(path, "old").has_value());

  // The process' own limit stands for a disk that takes no more: write() fails in the middle of the bytes.
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit limit{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &limit) == 0);
  const auto saved = limit.rlim_cur;
  limit.rlim_cur = 4096;
  REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  const auto written = gf::write_whole(path, std::string(100'000, 'n'));
  limit.rlim_cur = saved;
  REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  std::signal(SIGXFSZ, old_handler);

  REQUIRE(written.has_error());
  CHECK(written.error().status == Status::io_error);
  CHECK(written.error().message.starts_with(path));
  CHECK(gf::read_text(path, 100).value() == "old");
  CHECK(folder.entries() == 1);
}

TEST_CASE("a target that is a folder, or has none, is refused and nothing stays") {
  TemporaryFolder folder;
  REQUIRE(std::filesystem::create_directory(folder.file("sub")));
  CHECK(gf::write_whole(folder.file("sub"), "x").has_error());
  const auto nowhere = gf::write_whole(folder.file("none/out"), "x");
  REQUIRE(nowhere.has_error());
  CHECK(nowhere.error().status == Status::not_found);
  CHECK(nowhere.error().message.starts_with(folder.file("none/out")));
  CHECK(gf::write_whole(std::string("a\0b", 3), "x").error().status == Status::invalid_argument);
  CHECK(folder.entries() == 1);
}

TEST_CASE("a folder that may not be written in is unauthorised") {
  TemporaryFolder folder;
  REQUIRE(chmod(folder.path().c_str(), 0555) == 0);
  // Root may write anywhere, so it steps down to nobody for the call.
  const bool root = geteuid() == 0;
  if (root) REQUIRE(seteuid(65534) == 0);
  const auto written = gf::write_whole(folder.file("out"), "x");
  if (root) REQUIRE(seteuid(0) == 0);
  REQUIRE(written.has_error());
  CHECK(written.error().status == Status::unauthorised);
}

TEST_CASE("what an earlier process of the same number left behind is in nobody's way") {
  TemporaryFolder folder;
  const auto path = folder.file("out");
  // Whatever the temporary name is: a write that is stopped between its two halves shows it.
  REQUIRE(std::filesystem::create_directory(path));
  for (int i = 0; i < 100; ++i)
    put(folder.file(".gameforge-" + std::to_string(getpid()) + "-" + std::to_string(i) + ".part"), "stale");
  std::filesystem::remove(path);
  CHECK(gf::write_whole(path, "new").has_value());
  CHECK(gf::read_text(path, 100).value() == "new");
}

TEST_CASE("readers see the old text or the new one, whole, while many threads write") {
  TemporaryFolder folder;
  const auto path = folder.file("out");
  const std::string texts[] = {std::string(20'000, 'a'), std::string(30'000, 'b'), std::string(40'000, 'c')};
  REQUIRE(gf::write_whole(path, texts[0]).has_value());
  std::atomic<bool> failed{false};
  std::atomic<int> writing{3};
  std::vector<std::thread> threads;
  for (const auto& text : texts) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        if (!gf::write_whole(path, text)) failed = true;
      }
      --writing;
    });
  }
  while (writing > 0) {
    const auto seen = gf::read_text(path, 100'000);
    const bool whole =
        seen.has_value() && (seen.value() == texts[0] || seen.value() == texts[1] || seen.value() == texts[2]);
    if (!whole) failed = true;
  }
  for (auto& thread : threads) thread.join();
  CHECK_FALSE(failed);
  CHECK(folder.entries() == 1);
}

TEST_CASE("golden: errors of the system and the status that each becomes") {
  struct Row {
    int number;
    Status status;
  };
  for (const auto& row :
       {Row{ENOENT, Status::not_found}, Row{ENOTDIR, Status::not_found}, Row{EACCES, Status::unauthorised},
        Row{EPERM, Status::unauthorised}, Row{EROFS, Status::unauthorised}, Row{ENOSPC, Status::disk_full},
        Row{EDQUOT, Status::disk_full}, Row{ENAMETOOLONG, Status::invalid_argument},
        Row{ENOMEM, Status::out_of_host_memory}, Row{EIO, Status::io_error}, Row{EMFILE, Status::io_error}}) {
    CAPTURE(row.number);
    const auto error = gf::system_error(row.number, "the thing");
    CHECK(error.status == row.status);
    CHECK(error.message.starts_with("the thing: "));
    CHECK(error.message.size() > 12);
  }
}

TEST_CASE("paths are told apart and joined with one slash") {
  TemporaryFolder folder;
  put(folder.file("f"), "x");
  CHECK(gf::is_regular_file(folder.file("f")));
  CHECK_FALSE(gf::is_regular_file(folder.path()));
  CHECK_FALSE(gf::is_regular_file(folder.file("none")));
  CHECK(gf::is_directory(folder.path()));
  CHECK_FALSE(gf::is_directory(folder.file("f")));
  CHECK(gf::join_path("a", "b") == "a/b");
  CHECK(gf::join_path("a/", "b") == "a/b");
  CHECK(gf::join_path("/", "b") == "/b");
  CHECK(gf::join_path("", "b") == "b");
}

TEST_CASE("the names in a folder are sorted, hidden ones too, and a folder that is not there is an error") {
  TemporaryFolder folder;
  for (const auto* name : {"b", ".hidden", "a", "\xC3\xA4"}) put(folder.file(name), "x");
  std::filesystem::create_directory(folder.file("sub"));
  CHECK(gf::names_in(folder.path()).value() == std::vector<std::string>{".hidden", "a", "b", "sub", "\xC3\xA4"});
  CHECK(gf::names_in(folder.file("sub")).value().empty());
  const auto missing = gf::names_in(folder.file("nowhere"));
  REQUIRE(missing.has_error());
  CHECK(missing.error().status == Status::not_found);
  CHECK(missing.error().message.find("nowhere") != std::string::npos);
  CHECK(gf::names_in(folder.file("a")).has_error());
  CHECK(gf::regular_file_bytes(folder.file("a")) == 1u);
  CHECK_FALSE(gf::regular_file_bytes(folder.file("sub")).has_value());
  CHECK_FALSE(gf::regular_file_bytes(folder.file("nowhere")).has_value());
}
