// Two real processes on one journal.
#include "process.hpp"
#include "support/folder.hpp"
#include "support/paths.hpp"

#include <string>
#include <vector>

namespace {

using aura::test::Process;
using Folder = aura::test::TemporaryFolder;

std::vector<std::string> holder(const Folder& folder, const std::string& name) {
  return {aura::test::program_path("crash", "lease_holder"), folder.file("journal.db"), name, "10"};
}

}  // namespace

TEST_CASE("a process that was stopped past its lease is fenced off when it goes on") {
  Folder folder;
  Process one(holder(folder, "one"));
  REQUIRE(one.ask("acquire 100") == "token 1");
  REQUIRE(one.ask("begin order-17") == "ok");
  REQUIRE(one.ask("append order-17 1") == "ok");

  Process two(holder(folder, "two"));
  REQUIRE(two.ask("acquire 105") == "token 2");
  REQUIRE(two.ask("claim order-17 109") == "not claimed");

  one.stop();
  one.tell("append order-17 2");  // lies in the pipe: it has decided this, and acts on it when it wakes
  REQUIRE(two.ask("claim order-17 110") == "claimed 3 2");
  REQUIRE(two.ask("append order-17 2") == "ok");
  one.go_on();
  const std::string refusal = one.hear();
  INFO(refusal);
  REQUIRE(refusal.find("journal/2 permanent: stream \"order-17\" is held under token 3") == 0);
  REQUIRE(one.ask("append order-17 3").find("journal/2") == 0);
  REQUIRE(two.ask("append order-17 3") == "ok");

  REQUIRE(one.ask("claim order-17 112") == "not claimed");
  REQUIRE(one.ask("claim order-17 115") == "claimed 4 4");
  REQUIRE(two.ask("append order-17 4").find("journal/2") == 0);
}

TEST_CASE("a process that was killed leaves its streams to its successor, with all that it was told") {
  Folder folder;
  for (int life = 0; life < 3; ++life) {
    Process one(holder(folder, "one"));
    REQUIRE(one.ask("acquire 100").find("token ") == 0);
    if (life == 0) {
      REQUIRE(one.ask("begin order-17") == "ok");
    } else {
      const std::string claimed = one.ask("claim order-17 100");
      REQUIRE(claimed.substr(claimed.rfind(' ')) == " " + std::to_string(1 + 10 * life));
    }
    for (int i = 0; i < 10; ++i) REQUIRE(one.ask("append order-17 " + std::to_string(1 + 10 * life + i)) == "ok");
    one.signal(SIGKILL);
  }
}
