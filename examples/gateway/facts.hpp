// What the journal says of every request: read by index, without opening a single history.
#pragma once

#include "request.hpp"

#include <aura/durable/dead_letter.hpp>
#include <aura/sqlite/journal.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gateway {

struct RunFacts {
  std::string run, state;
  std::uint32_t row = 0;
  bool open = true;
  aura::WallTime created{}, updated{};
};

struct Facts {
  std::vector<RunFacts> runs;
  std::vector<std::string> letters;  ///< dead letters that wait for an operator
  std::set<std::string> by_hand;     ///< runs of which an operator resolved a step without its being done
  aura::WallTime latest{};           ///< when the last record was written

  std::size_t count(std::string_view state) const {
    return static_cast<std::size_t>(
        std::count_if(runs.begin(), runs.end(), [&](const RunFacts& run) { return run.state == state; }));
  }
};

inline std::string_view after_slash(std::string_view stream) { return stream.substr(stream.find('/') + 1); }

/// Every stream that matches. Throws aura::ErrorException where the journal cannot be read.
inline boost::asio::awaitable<std::vector<aura::StreamHead>> find_all(aura::sqlite::SqliteJournal& journal,
                                                                      aura::StreamQuery query) {
  std::vector<aura::StreamHead> all;
  query.limit = 10'000;
  do {
    aura::Result<aura::StreamPage> page = co_await journal.find(query, boost::asio::use_awaitable);
    query.after = page.value().next;
    std::move(page->streams.begin(), page->streams.end(), std::back_inserter(all));
  } while (!query.after.empty());
  co_return all;
}

inline boost::asio::awaitable<Facts> read_facts(aura::sqlite::SqliteJournal& journal) {
  Facts facts;
  const aura::StreamQuery sagas{.kind = "saga"};
  const aura::StreamQuery letters{.kind = std::string(aura::dead_letter_kind)};
  std::vector<aura::StreamHead> heads = co_await find_all(journal, sagas);
  for (aura::StreamHead& head : heads) {
    const std::string_view run = after_slash(head.stream);
    RunFacts& entry = facts.runs.emplace_back(
        RunFacts{std::string(run), std::move(head.state), 0, head.open, head.created, head.updated});
    const std::size_t digits = run.find('-') + 1;
    std::from_chars(run.data() + digits, run.data() + run.size(), entry.row);
    facts.latest = std::max(facts.latest, head.updated);
  }
  heads = co_await find_all(journal, letters);
  for (const aura::StreamHead& head : heads) {
    const std::string_view id = after_slash(head.stream);  // "request-000017/bill/1"
    if (head.open) facts.letters.emplace_back(id);
    if (head.state == "resolved") facts.by_hand.emplace(id.substr(0, id.find('/')));
  }
  co_return facts;
}

}  // namespace gateway
