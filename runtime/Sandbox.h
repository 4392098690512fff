//===- Sandbox.h - what a command gives up before it works on anything it was given ---===//
//
// A compiled model needs no file but itself, no network and no other program. Before a command works on its tables and
// on its user's text, it gives the rest up for good, as far as this kernel can enforce it (Linux: seccomp, Landlock).
// What a command reads or writes is opened before. docs/security.md has the whole list.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_RUNTIME_SANDBOX_H
#define SLUICE_RUNTIME_SANDBOX_H

#include <string>

namespace sluice::runtime {

// What a command still needs beyond memory, the clock, and reading and writing files that are open.
struct SandboxNeeds {
  bool threads = false;  // starts workers
  bool terminal = false; // sets the terminal's mode, asks for its size
  bool child = false;    // waits for a process that it has started
  bool driver = false;   // uses a device's driver, whose needs are not known: files stay open to it
};

struct SandboxState {
  bool systemCalls = false; // a filter is in force (seccomp)
  int landlock = 0;         // version of Landlock in force; 0: none
  bool driver = false;      // as needed
  std::string reason;       // why anything is missing: "--no-sandbox", "the kernel has no Landlock"

  std::string summary() const; // one line
};

// For this process, all its threads and those to come; never fails, since a kernel may lack any of it.
const SandboxState &enterSandbox(const SandboxNeeds &needs);
// Of the last enterSandbox().
const SandboxState &sandboxState();
// Instead of enterSandbox().
void leaveOutSandbox(const std::string &reason);

// The two halves of enterSandbox(), for tests. 0, or the error's number.
int filterSystemCalls(const SandboxNeeds &needs);
int restrictFiles(const SandboxNeeds &needs, int &version);

} // namespace sluice::runtime
#endif
