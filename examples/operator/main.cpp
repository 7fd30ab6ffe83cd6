// A small tool for the person who looks after sagas in a SQLite journal. It works while a service has the journal open.
//
//   operator gateway-state/journal.db list                    # what is open, stuck ones first
//   operator gateway-state/journal.db show request-001813     # one run's history, an event a line
//   operator gateway-state/journal.db retry request-001813 bill --reason "the refund service is back"
//
// It changes no run itself. retry, skip, supply, cancel and redrive leave a command in the journal; the service that
// drives the run carries it out at its next poll (within a second, as it comes), or when it is started again.
#include "desk.hpp"
#include "print.hpp"

#include <aura/durable/saga_history.hpp>

#include <charconv>
#include <cstdio>
#include <map>
#include <stdexcept>

namespace {

using namespace operating;

constexpr const char* usage = R"(usage: operator JOURNAL COMMAND

  list [--state S] [--attr NAME=VALUE] [--limit N]
                               runs; without --state those that are open, stuck ones first
  show RUN                     the history of a run
  retry RUN STEP --reason R    attempts a stuck step, or its stuck compensation, again
  skip RUN STEP --reason R     takes a stuck step, or its stuck compensation, as done
  supply RUN STEP JSON         takes a stuck step as done with this result
  cancel RUN --reason R        asks a run to go back
  dead-letters [--limit N]     what failed for good
  redrive LETTER --reason R    attempts again what a letter is about
  redrive --all --reason R     the same for every letter that is not quarantined
  export RUN                   the history of a run as JSON

exit status: 0 done, 1 the journal or the run says no, 2 the command line is wrong
)";

struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Arguments {
  std::vector<std::string> words;
  std::map<std::string, std::string> options;

  std::string reason() const {
    const auto found = options.find("--reason");
    if (found == options.end()) throw UsageError("say why: --reason TEXT is kept in the run's history");
    return found->second;
  }
  std::size_t limit() const {
    const auto found = options.find("--limit");
    if (found == options.end()) return 100;
    const std::string& text = found->second;
    std::size_t limit = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), limit);
    if (error != std::errc{} || end != text.data() + text.size() || limit == 0)
      throw UsageError("--limit takes a number from 1 on, not \"" + text + "\"");
    return limit;
  }
  void expect(std::size_t count) const {
    if (words.size() != count) throw UsageError("\"" + words[1] + "\" takes other arguments; --help shows them");
  }
};

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (!word.starts_with("--")) {
      arguments.words.push_back(word);
    } else if (word == "--all") {
      arguments.options[word] = "";
    } else if (word == "--reason" || word == "--state" || word == "--attr" || word == "--limit") {
      if (++i == argc) throw UsageError(word + " needs a value");
      arguments.options[word] = argv[i];
    } else {
      throw UsageError("there is no option " + word + "; --help lists them");
    }
  }
  if (arguments.words.size() < 2) throw UsageError("name a journal and a command; --help shows how");
  return arguments;
}

std::string stream_of(const std::string& run) { return "saga/" + aura::RunId::parse(run).value().str(); }

aura::StreamHead run_head(Desk& desk, const std::string& run) {
  const auto head = desk.head(stream_of(run));
  if (!head) throw std::runtime_error("there is no run " + run);
  return *head;
}

void list(Desk& desk, const Arguments& arguments) {
  aura::StreamQuery query{.kind = "saga"};
  if (const auto attr = arguments.options.find("--attr"); attr != arguments.options.end()) {
    const std::size_t equals = attr->second.find('=');
    if (equals == std::string::npos) throw UsageError("--attr takes NAME=VALUE");
    query.attributes = {{attr->second.substr(0, equals), attr->second.substr(equals + 1)}};
  }
  std::vector<std::string> states{"stuck", "held", "compensating", "running"};
  if (const auto state = arguments.options.find("--state"); state != arguments.options.end())
    states = {state->second};
  std::vector<aura::StreamHead> found;
  for (const std::string& state : states) {
    if (found.size() >= arguments.limit()) break;
    query.state = state;
    for (auto& head : desk.find(query, arguments.limit() - found.size())) found.push_back(std::move(head));
  }
  print_heads(found);
  if (found.size() == arguments.limit()) fmt::print("... there may be more: --limit N shows them\n");
}

void show(Desk& desk, const Arguments& arguments) {
  print_heads({run_head(desk, arguments.words[2])});
  fmt::print("\n");
  print_history(desk.history(stream_of(arguments.words[2])));
}

void export_run(Desk& desk, const Arguments& arguments) {
  run_head(desk, arguments.words[2]);
  const auto records = desk.history(stream_of(arguments.words[2]));
  fmt::print("{}\n", aura::export_history(aura::RunId{arguments.words[2]}, records).value().dump(2));
}

/// Refuses what could only be refused later, then leaves the command.
void command(Desk& desk, aura::SagaVerb verb, const std::string& run, const std::string& step, std::string bytes) {
  const aura::StreamHead head = run_head(desk, run);
  if (!head.open) throw std::runtime_error("run " + run + " has ended: it is " + head.state);
  if (verb != aura::SagaVerb::cancel && head.state != "stuck")
    throw std::runtime_error("run " + run + " is not stuck: it is " + head.state);
  desk.leave({verb, aura::RunId{run}, step, std::move(bytes)});
  fmt::print("left: {} {}{}{}. The service that drives the run does it at its next poll, or when it is started.\n",
             to_string(verb), run, step.empty() ? "" : " ", step);
}

void supply(Desk& desk, const Arguments& arguments) {
  if (!nlohmann::json::accept(arguments.words[4])) throw UsageError("the result is no JSON");
  command(desk, aura::SagaVerb::supply, arguments.words[2], arguments.words[3], arguments.words[4]);
}

void redrive_letter(Desk& desk, const aura::DeadLetter& letter, const std::string& reason) {
  const std::size_t space = letter.redrive.find(' ');  // "request-001813 bill", as a saga's letter says it
  if (letter.source != "saga" || space == std::string::npos)
    throw std::runtime_error("letter " + letter.id + " is of \"" + letter.source +
                             "\", which this tool cannot redrive");
  command(desk, aura::SagaVerb::retry, letter.redrive.substr(0, space), letter.redrive.substr(space + 1), reason);
}

void redrive(Desk& desk, const Arguments& arguments) {
  const bool all = arguments.options.contains("--all");
  if (arguments.words.size() != (all ? 2u : 3u)) throw UsageError("redrive takes a letter, or --all");
  const std::string reason = arguments.reason();
  std::size_t count = 0;
  for (const aura::DeadLetterEntry& entry : desk.letters(SIZE_MAX)) {
    if (all ? entry.state == "quarantined" : entry.letter.id != arguments.words[2]) continue;
    redrive_letter(desk, entry.letter, reason);
    ++count;
  }
  if (!all && count == 0) throw std::runtime_error("there is no open dead letter " + arguments.words[2]);
  if (all) fmt::print("{} letters\n", count);
}

void carry_out(Desk& desk, const Arguments& arguments) {
  const std::string& verb = arguments.words[1];
  const auto step_command = [&](aura::SagaVerb asked) {
    arguments.expect(4);
    command(desk, asked, arguments.words[2], arguments.words[3], arguments.reason());
  };
  if (verb == "list") return arguments.expect(2), list(desk, arguments);
  if (verb == "show") return arguments.expect(3), show(desk, arguments);
  if (verb == "export") return arguments.expect(3), export_run(desk, arguments);
  if (verb == "retry") return step_command(aura::SagaVerb::retry);
  if (verb == "skip") return step_command(aura::SagaVerb::skip);
  if (verb == "supply") return arguments.expect(5), supply(desk, arguments);
  if (verb == "cancel")
    return arguments.expect(3), command(desk, aura::SagaVerb::cancel, arguments.words[2], "", arguments.reason());
  if (verb == "dead-letters") return arguments.expect(2), print_letters(desk.letters(arguments.limit()));
  if (verb == "redrive") return redrive(desk, arguments);
  throw UsageError("there is no command \"" + verb + "\"; --help lists them");
}

}  // namespace

int main(int argc, char** argv) try {
  for (int i = 1; i < argc; ++i)
    if (std::string_view(argv[i]) == "--help" || std::string_view(argv[i]) == "-h") return fmt::print("{}", usage), 0;
  const Arguments arguments = parse(argc, argv);
  Desk desk(arguments.words[0]);
  carry_out(desk, arguments);
  return 0;
} catch (const UsageError& fault) {
  fmt::print(stderr, "operator: {}\n", fault.what());
  return 2;
} catch (const aura::ErrorException& fault) {
  fmt::print(stderr, "operator: {}\n", fault.error().message());
  return 1;
} catch (const std::exception& fault) {
  fmt::print(stderr, "operator: {}\n", fault.what());
  return 1;
}
