#include "journal_host.hpp"

#define JOURNAL_FOLDER "sqlite"
#define JOURNAL_HOST aura::test::SqliteHost
#include "support/journal_contract.hpp"

static_assert(aura::journal<aura::sqlite::SqliteJournal>);
