#include "support/catch.hpp"

#include <aura/sim/disk.hpp>

#include <algorithm>
#include <set>
#include <string>

namespace {

using aura::Random;
using aura::Result;
using aura::sim::Disk;
using aura::sim::disk_errc;
using aura::sim::DiskFault;
using aura::sim::DiskOperation;
using aura::sim::DiskVerb;
using aura::sim::Survival;

std::string filled(std::size_t size, char with) { return std::string(size, with); }

/// A file of four sectors of 'a' that is durable.
Disk::File durable_file(Disk& disk) {
  const Disk::File file = disk.open("f", true).value();
  disk.write(file, 0, filled(2048, 'a')).value();
  disk.sync(file).value();
  disk.sync_directory().value();
  return file;
}

/// What is left of the file after `work` and a power loss, over many seeds.
template <class Work>
std::set<std::string> outcomes(const Disk::Options& options, Work work) {
  std::set<std::string> left;
  for (std::uint64_t seed = 1; seed <= 400; ++seed) {
    Disk disk(Random(seed), options);
    work(disk, durable_file(disk));
    disk.restart();
    left.insert(disk.bytes("f"));
  }
  return left;
}

}  // namespace

TEST_CASE("a disk holds what was written") {
  Disk disk;
  REQUIRE_FALSE(disk.exists("f").value());
  REQUIRE(disk.open("f", false).error().is(disk_errc::no_file));
  const Disk::File file = disk.open("f", true).value();
  disk.write(file, 3, "abc").value();
  REQUIRE(disk.size(file).value() == 6);
  std::string read(10, '?');
  REQUIRE(disk.read(file, 1, read).value() == 5);
  REQUIRE(read.substr(0, 5) == std::string("\0\0abc", 5));
  REQUIRE(disk.read(file, 6, read).value() == 0);
  disk.truncate(file, 4).value();
  REQUIRE(disk.bytes("f") == std::string("\0\0\0a", 4));
  REQUIRE(disk.bytes_used() == 4);

  disk.remove("f").value();
  REQUIRE_FALSE(disk.exists("f").value());
  REQUIRE(disk.size(file).value() == 4);  // an open handle keeps the file
  REQUIRE(disk.remove("f").error().is(disk_errc::no_file));
  disk.close(file);
  REQUIRE(disk.size(file).error().is(disk_errc::stale));
}

TEST_CASE("what was synced survives every power loss") {
  const auto left = outcomes({}, [](Disk& disk, Disk::File file) {
    disk.write(file, 100, filled(1000, 'b')).value();
    disk.truncate(file, 1500).value();
    disk.sync(file).value();
  });
  REQUIRE(left == std::set{filled(100, 'a') + filled(1000, 'b') + filled(400, 'a')});
}

TEST_CASE("an unsynced write is kept, lost or torn, sector by sector") {
  const auto left =
      outcomes({}, [](Disk& disk, Disk::File file) { disk.write(file, 512, filled(1024, 'b')).value(); });
  std::set<std::string> expected;
  for (const char first : {'a', 'b'})
    for (const char second : {'a', 'b'})
      expected.insert(filled(512, 'a') + filled(512, first) + filled(512, second) + filled(512, 'a'));
  REQUIRE(left == expected);
}

TEST_CASE("unsynced writes are reordered, yet never an older one over a newer one of the same sector") {
  const auto left = outcomes({}, [](Disk& disk, Disk::File file) {
    disk.write(file, 0, filled(512, 'b')).value();
    disk.write(file, 512, filled(512, 'c')).value();
    disk.write(file, 0, filled(256, 'd')).value();
  });
  const auto starts = [&](const std::string& with) {
    return std::any_of(left.begin(), left.end(), [&](const std::string& bytes) { return bytes.starts_with(with); });
  };
  REQUIRE(starts(filled(512, 'a') + filled(512, 'c')));                     // the later one alone
  REQUIRE(starts(filled(256, 'd') + filled(256, 'b') + filled(512, 'a')));  // the last without the one before
  REQUIRE_FALSE(starts(filled(256, 'd') + filled(256, 'a')));
}

TEST_CASE("writes that reached the device in order leave a prefix, and its end may be torn") {
  const auto left = outcomes({}, [](Disk& disk, Disk::File file) {
    for (std::uint64_t i = 0; i < 8; ++i)
      disk.write(file, i * 1024, filled(1024, static_cast<char>('b' + i))).value();
  });
  bool whole = false, torn = false;
  for (std::size_t count = 3; count < 8; ++count) {
    std::string prefix;
    for (std::size_t i = 0; i < count; ++i) prefix += filled(1024, static_cast<char>('b' + i));
    whole = whole || left.contains(prefix);
    torn = torn || left.contains(prefix + filled(512, static_cast<char>('b' + count)) + filled(512, '\0'));
  }
  REQUIRE(whole);
  REQUIRE(torn);
}

TEST_CASE("a file's size and its contents survive independently") {
  const auto grown =
      outcomes({}, [](Disk& disk, Disk::File file) { disk.write(file, 2048, filled(512, 'b')).value(); });
  REQUIRE(grown ==
          std::set{filled(2048, 'a'), filled(2048, 'a') + filled(512, '\0'), filled(2048, 'a') + filled(512, 'b')});
  const auto cut = outcomes({}, [](Disk& disk, Disk::File file) { disk.truncate(file, 1000).value(); });
  REQUIRE(cut == std::set{filled(2048, 'a'), filled(1000, 'a')});
}

TEST_CASE("a device without atomic sectors tears inside them, and without safe overwrites it harms the neighbours") {
  const auto write = [](Disk& disk, Disk::File file) { disk.write(file, 600, filled(100, 'b')).value(); };
  const auto torn = outcomes({.geometry = {.atomic_sectors = false}}, write);
  REQUIRE(torn.size() > 20);
  for (const std::string& bytes : torn) {
    REQUIRE(bytes.substr(0, 600) == filled(600, 'a'));
    REQUIRE(bytes.substr(700) == filled(1348, 'a'));
    REQUIRE(std::all_of(bytes.begin() + 600, bytes.begin() + 700, [](char c) { return c == 'a' || c == 'b'; }));
  }
  const auto harmed = outcomes({.geometry = {.powersafe_overwrite = false}}, write);
  REQUIRE(std::any_of(harmed.begin(), harmed.end(),
                      [](const std::string& bytes) { return bytes.substr(512, 88) != filled(88, 'a'); }));
  for (const std::string& bytes : harmed) {
    REQUIRE(bytes.substr(0, 512) == filled(512, 'a'));
    REQUIRE(bytes.substr(1024) == filled(1024, 'a'));
  }
}

TEST_CASE("names are durable once the directory was synced, and before that by chance") {
  std::set<std::string> left;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    Disk disk{Random(seed)};
    for (const char* name : {"old", "kept"}) disk.sync(disk.open(name, true).value()).value();
    disk.sync_directory().value();
    disk.remove("old").value();
    disk.sync(disk.open("new", true).value()).value();  // its contents, not its name
    disk.restart();
    REQUIRE(disk.exists("kept").value());
    left.insert(std::string(disk.exists("old").value() ? "old " : "") + (disk.exists("new").value() ? "new" : ""));
  }
  REQUIRE(left == std::set<std::string>{"", "new", "old ", "old new"});

  Disk disk;
  disk.open("new", true).value();
  disk.sync_directory().value();
  disk.restart(Survival::nothing);
  REQUIRE(disk.exists("new").value());
}

TEST_CASE("a test may choose that everything or nothing survives") {
  for (const Survival survival : {Survival::nothing, Survival::everything}) {
    Disk disk;
    const Disk::File file = durable_file(disk);
    disk.write(file, 0, "b").value();
    disk.open("g", true).value();
    disk.restart(survival);
    const bool all = survival == Survival::everything;
    REQUIRE(disk.bytes("f").front() == (all ? 'b' : 'a'));
    REQUIRE(disk.exists("g").value() == all);
  }
}

TEST_CASE("without power nothing works, and handles of before a restart stay dead") {
  Disk disk;
  const Disk::File file = durable_file(disk);
  disk.lose_power();
  std::string into(1, ' ');
  REQUIRE(disk.write(file, 0, "x").error().is(disk_errc::no_power));
  REQUIRE(disk.read(file, 0, into).error().is(disk_errc::no_power));
  REQUIRE(disk.sync(file).error().is(disk_errc::no_power));
  REQUIRE(disk.truncate(file, 0).error().is(disk_errc::no_power));
  REQUIRE(disk.open("g", true).error().is(disk_errc::no_power));
  REQUIRE(disk.remove("f").error().is(disk_errc::no_power));
  REQUIRE(disk.sync_directory().error().is(disk_errc::no_power));
  REQUIRE(disk.exists("f").error().is(disk_errc::no_power));
  const std::uint64_t before = disk.incarnation();
  disk.restart();
  REQUIRE(disk.incarnation() == before + 1);
  REQUIRE(disk.write(file, 0, "x").error().is(disk_errc::stale));
  REQUIRE(disk.bytes("f") == filled(2048, 'a'));
}

TEST_CASE("power can go at any operation, which may then have taken effect or not") {
  bool kept = false, lost = false;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    Disk disk{Random(seed)};
    const Disk::File file = durable_file(disk);
    disk.write(file, 0, filled(512, 'b')).value();
    disk.inject(disk.operations() + 1, DiskFault::power_loss);
    REQUIRE(disk.sync(file).error().is(disk_errc::no_power));
    REQUIRE_FALSE(disk.powered());
    disk.restart();
    (disk.bytes("f").front() == 'b' ? kept : lost) = true;
  }
  REQUIRE(kept);
  REQUIRE(lost);
}

TEST_CASE("an injected error strikes the operation it was meant for, and only that one") {
  Disk disk;
  const Disk::File file = durable_file(disk);
  disk.inject(disk.operations() + 2, DiskFault::io);
  disk.write(file, 0, filled(512, 'b')).value();
  REQUIRE(disk.write(file, 512, filled(512, 'c')).error().is(disk_errc::io));
  disk.write(file, 1024, filled(512, 'd')).value();
  const std::string bytes = disk.bytes("f");
  REQUIRE(bytes.substr(0, 512) == filled(512, 'b'));
  REQUIRE(bytes.substr(1024, 512) == filled(512, 'd'));
  REQUIRE(bytes.substr(512, 512).find_first_not_of("ac") == std::string::npos);
}

TEST_CASE("what a failed sync let go stays readable, and no later sync saves it") {
  bool forgotten = false;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Disk disk{Random(seed)};
    const Disk::File file = durable_file(disk);
    disk.write(file, 0, filled(512, 'b')).value();
    disk.inject(disk.operations() + 1, DiskFault::io);
    REQUIRE(disk.sync(file).error().is(disk_errc::io));
    REQUIRE(disk.bytes("f").front() == 'b');
    disk.sync(file).value();
    disk.restart();
    forgotten = forgotten || disk.bytes("f").front() == 'a';
  }
  REQUIRE(forgotten);
}

TEST_CASE("a full disk refuses what does not fit, and takes it once there is room") {
  Disk disk(Random(1), {.bytes_max = 3000});
  const Disk::File file = durable_file(disk);
  REQUIRE(disk.write(file, 2048, filled(2000, 'b')).error().is(disk_errc::full));
  REQUIRE(disk.bytes_used() == 3000);
  REQUIRE(Disk::is_full(disk.truncate(file, 5000).error()));
  disk.write(file, 0, filled(3000, 'c')).value();  // in place
  disk.set_bytes_max(10'000);
  disk.write(file, 2048, filled(2000, 'b')).value();
  REQUIRE(disk.write(file, std::uint64_t{1} << 62, "far").error().is(disk_errc::full));
}

TEST_CASE("the hook sees every operation, and may make any of them fail") {
  Disk disk;
  std::string log;
  disk.on_operation([&](const DiskOperation& operation) {
    log.append(to_string(operation.verb)).append(" ").append(operation.file).append(std::to_string(operation.number));
    log += ", ";
    return operation.verb == DiskVerb::read ? DiskFault::io : DiskFault::none;
  });
  const Disk::File file = durable_file(disk);
  std::string into(1, ' ');
  REQUIRE(disk.read(file, 0, into).error().is(disk_errc::io));
  disk.remove("f").value();
  REQUIRE(log == "create f1, write f2, sync f3, sync_directory 4, read f5, remove f5, ");
  REQUIRE(disk.operations() == 5);
}

TEST_CASE("the same seed loses the same") {
  const auto run = [](std::uint64_t seed) {
    Disk disk{Random(seed)};
    const Disk::File file = durable_file(disk);
    for (std::uint64_t i = 0; i < 8; ++i) disk.write(file, i * 256, filled(256, 'b')).value();
    disk.restart();
    return disk.bytes("f");
  };
  std::set<std::string> different;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    REQUIRE(run(seed) == run(seed));
    different.insert(run(seed));
  }
  REQUIRE(different.size() > 5);
}
