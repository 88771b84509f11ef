#include "pair_mliappy.h"

#include "collective.h"
#include "descriptor_file.h"

#include "atom.h"
#include "error.h"
#include "force.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "universe.h"

#include <cmath>
#include <cstdlib>

using namespace LAMMPS_NS;

namespace fitsnap_nn {
namespace {

// Environment variable that names the kernel, to compare them; the best for this processor if it is empty or not set.
constexpr const char *INSTRUCTION_SET = "FITSNAP_NN_SNAP_ISA";

constexpr const char *LATER = "LATER";    // in place of a file: a script hands the model over before the run

std::string wanted_instruction_set() {
  const char *name = std::getenv(INSTRUCTION_SET);
  return name ? name : "";
}

}    // namespace

void PairMliappy::settings(int count, char **words) {
  std::string descriptor_file;
  for (int i = 0; i < count; i += 3) {
    const std::string keyword = words[i];
    std::string *file = keyword == "model" ? &file_ : keyword == "descriptor" ? &descriptor_file : nullptr;
    if (i + 3 > count || !file || !file->empty())
      error->all(FLERR, "pair_style mliap takes model mliappy FILE and descriptor sna FILE");
    if (keyword == "descriptor" && std::string(words[i + 1]) != "sna")
      error->all(FLERR, std::string("A model in Python goes with descriptor sna here, not with ") + words[i + 1]);
    *file = words[i + 2];
  }
  if (descriptor_file.empty())
    error->all(FLERR, "pair_style mliap model mliappy " + file_ + " needs descriptor sna FILE");
  load(descriptor_file);
}

void PairMliappy::load(const std::string &descriptor_file) {
  const DescriptorFile descriptor = read_descriptor_file(lmp, descriptor_file);
  elements_ = descriptor.elements;
  try {
    descriptor_ = std::make_unique<snap::Descriptor>(descriptor.options, wanted_instruction_set());
  } catch (const std::invalid_argument &problem) {
    error->all(FLERR, "descriptor sna " + descriptor_file + ": " + problem.what());
  }
  std::string units;
  call_on_all_ranks(lmp, [&] {
    const PyRef module = checked(PyImport_ImportModule("fitsnap_nn.lammps_plugin.descriptor_model"));
    model_ = checked(PyObject_CallMethod(module.get(), "load", "siii", file_.c_str(), universe->nprocs,
                                         descriptor_->size(), static_cast<int>(elements_.size())));
    units = text(model_.get(), "units");
  });
  if (file_ != LATER)
    check_units(units);
}

void PairMliappy::connect() {
  std::string units;
  call_on_all_ranks(lmp, [&] {
    checked(PyObject_CallMethod(model_.get(), "connect", nullptr));
    units = text(model_.get(), "units");
  });
  check_units(units);
}

void PairMliappy::init_style_for(Pair *owner) {
  if (!force->newton_pair)
    error->all(FLERR, "pair_style mliap model mliappy needs newton on: it puts forces on atoms of other ranks");
  neighbor->add_request(owner, NeighConst::REQ_FULL);
  if (file_ == LATER)
    connect();
}

double PairMliappy::init_one(int i, int j) {
  if (setflag[i][j] == 0)
    error->all(FLERR, "All pair coeffs are not set");
  return descriptor_->cutoff(element_of_[i], element_of_[j]);
}

void PairMliappy::compute(int eflag, int vflag) {
  ev_init(eflag, vflag);
  find_neighbors(absent_atoms(false));
  call_on_all_ranks(lmp, [this] {
    call_model();
    check_results();
  });
  descriptor_->forces(slopes_.data(), forces_.data());
  add_results();
  if (vflag_fdotr)
    virial_fdotr_compute();
}

void PairMliappy::find_neighbors(int absent) {
  atoms_.clear();
  neighbors_.clear();
  neighbor_elements_.clear();
  displacements_.clear();
  first_.assign(1, 0);
  for (int ii = 0; ii < list->inum; ++ii) {
    const int atom_i = list->ilist[ii];
    if (element_of_[atom->type[atom_i]] < 0 || atom->mask[atom_i] & absent)
      continue;
    atoms_.push_back(atom_i);
    add_neighbors(atom_i);
    first_.push_back(static_cast<int>(neighbors_.size()));
  }
  forces_.resize(displacements_.size());
}

void PairMliappy::add_neighbors(int atom_i) {
  const double *x = atom->x[atom_i];
  const int type = atom->type[atom_i];
  for (int jj = 0; jj < list->numneigh[atom_i]; ++jj) {
    const int j = list->firstneigh[atom_i][jj] & NEIGHMASK;
    const int other = atom->type[j];
    if (element_of_[other] < 0)
      continue;
    const double d[] = {atom->x[j][0] - x[0], atom->x[j][1] - x[1], atom->x[j][2] - x[2]};
    if (d[0] * d[0] + d[1] * d[1] + d[2] * d[2] >= cutsq[type][other])
      continue;
    neighbors_.push_back(j);
    neighbor_elements_.push_back(element_of_[other]);
    displacements_.insert(displacements_.end(), d, d + 3);
  }
}

// Nothing is asked of the model where there are no atoms.
void PairMliappy::call_model() {
  const int count = static_cast<int>(atoms_.size());
  const Py_ssize_t values = Py_ssize_t(count) * descriptor_->size();
  atom_elements_.reserve(count);
  energies_.reserve(count);
  components_.reserve(values);
  slopes_.reserve(values);
  for (int n = 0; n < count; ++n)
    atom_elements_.data()[n] = element_of_[atom->type[atoms_[n]]];
  descriptor_->load({count, atom_elements_.data(), first_.data(), neighbor_elements_.data(), displacements_.data()});
  if (count == 0)
    return;
  descriptor_->components(components_.data());
  const PyRef elements = atom_elements_.rows(count), components = components_.rows(values);
  const PyRef slopes = slopes_.rows(values), energies = energies_.rows(count);
  checked(PyObject_CallMethod(model_.get(), "compute", "OOOO", elements.get(), components.get(), slopes.get(),
                              energies.get()));
}

void PairMliappy::check_results() const {
  for (std::size_t n = 0; n < atoms_.size(); ++n) {
    const double *slopes = slopes_.data() + n * descriptor_->size();
    double sum = energies_.data()[n];
    for (int k = 0; k < descriptor_->size(); ++k)
      sum += slopes[k];
    if (!std::isfinite(sum))
      throw std::runtime_error(not_finite("the energy", atom->tag[atoms_[n]], atom_elements_.data()[n]));
  }
}

void PairMliappy::add_results() {
  double **f = atom->f;
  for (std::size_t n = 0; n < atoms_.size(); ++n) {
    const int i = atoms_[n];
    for (int k = first_[n]; k < first_[n + 1]; ++k) {
      const int j = neighbors_[k];
      const double *pull = &forces_[3 * std::size_t(k)], *d = &displacements_[3 * std::size_t(k)];
      for (int axis = 0; axis < 3; ++axis) {
        f[i][axis] += pull[axis];
        f[j][axis] -= pull[axis];
      }
      if (vflag_either)
        ev_tally_xyz(i, j, atom->nlocal, force->newton_pair, 0.0, 0.0, pull[0], pull[1], pull[2], -d[0], -d[1], -d[2]);
    }
    if (eflag_global)
      eng_vdwl += energies_.data()[n];
    if (eflag_atom)
      eatom[i] += energies_.data()[n];
  }
}

double PairMliappy::memory_usage() {
  const std::size_t ints =
      atoms_.capacity() + first_.capacity() + neighbors_.capacity() + neighbor_elements_.capacity();
  const std::size_t doubles = displacements_.capacity() + forces_.capacity();
  return Pair::memory_usage() + static_cast<double>(ints * sizeof(int) + doubles * sizeof(double)) +
         atom_elements_.bytes() + components_.bytes() + slopes_.bytes() + energies_.bytes() +
         descriptor_->memory_usage();
}

}    // namespace fitsnap_nn
