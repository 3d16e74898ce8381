// How the in-process queue keeps its journal.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace gf::sql {
class Connection;
}

namespace gf::queue {

/// What an answered call outlives.
enum class Durability : std::uint32_t {
  disk = 0,  ///< The end of the machine: each answer waits for the disk (synchronous=FULL), in groups of whoever waits.
  system =
      1,  ///< The end of the process: the system has it (WAL, synchronous=NORMAL). A power cut may take the newest.
};

struct JournalOptions {
  /// The file. It is made where there is none; a new one beside it, PATH-wal, belongs to it.
  std::string path;
  Durability durability = Durability::disk;
  /// For tests: what stands between the journal and its connection.
  std::function<std::unique_ptr<sql::Connection>(std::unique_ptr<sql::Connection>)> test_connection;
};

}  // namespace gf::queue
