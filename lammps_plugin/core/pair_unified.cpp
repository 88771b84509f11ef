#include "pair_unified.h"

#include "collective.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "neighbor.h"
#include "universe.h"
#include "utils.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <string>

using namespace LAMMPS_NS;

namespace fitsnap_nn {

PairUnified::PairUnified(LAMMPS *lmp) : PairModel(lmp), neighbors_(lmp), exchange_(lmp, this) {
  comm_forward = comm_reverse = comm_reverse_off = Exchange::chunk;
}

PairUnified::~PairUnified() {
  if (own_cutoff_ > 0.0 && comm->cutghostuser == own_cutoff_)
    comm->cutghostuser = users_cutoff_;
}

void PairUnified::settings(int count, char **words) {
  if (count < 2 || count > 3)
    error->all(FLERR, "pair_style mliap unified takes a FILE, and 0 or 1 for ghosts' neighbors");
  file_ = words[1];
  reach_.ghosts = count == 3 && utils::logical(FLERR, words[2], false, lmp);
  load();
  ghostneigh = reach_.ghosts;
}

void PairUnified::load() {
  std::string units;
  call_on_all_ranks(lmp, [&] {
    const PyRef runtime = checked(PyImport_ImportModule("fitsnap_nn.plugin.runtime"));
    model_ = checked(PyObject_CallMethod(runtime.get(), "load_unified", "si", file_.c_str(), universe->nprocs));
    elements_ = texts(model_.get(), "elements");
    units = text(model_.get(), "units");
    reach_.cutoff = number(model_.get(), "cutoff");
    reach_.layers = static_cast<int>(number(model_.get(), "ghost_layers"));
    pairwise_ = number(model_.get(), "pairwise") != 0.0;
  });
  check_units(units);
  if (reach_.layers > 1)
    reach_.ghosts = true;
}

void PairUnified::init_style_for(Pair *owner) {
  neighbor->add_request(owner, NeighConst::REQ_FULL | (reach_.ghosts ? NeighConst::REQ_GHOST : 0));
  if (reach_.ghosts)
    set_communication_cutoff();
}

double PairUnified::init_one(int i, int j) {
  if (setflag[i][j] == 0)
    error->all(FLERR, "All pair coeffs are not set");
  cutghost[i][j] = cutghost[j][i] = reach_.cutoff;
  return reach_.cutoff;
}

// Ghosts as far as the model looks. LAMMPS fetches them when lists are built: until the next time, atoms come nearer by
// no more than the skin.
void PairUnified::set_communication_cutoff() {
  if (reach_.layers == 0) {
    if (comm->me == 0 && comm->cutghostuser < 2.0 * reach_.cutoff)
      error->warning(FLERR, "The model in " + file_ + " does not say how many neighbors away it looks (an attribute " +
                                "`ghost_layers`): comm_modify cutoff must be that many cutoffs and the neighbor skin");
    return;
  }
  if (comm->mode != Comm::SINGLE)
    error->all(FLERR, "The model in " + file_ + " needs comm_modify mode single");
  if (comm->cutghostuser != own_cutoff_)
    users_cutoff_ = comm->cutghostuser;
  own_cutoff_ = comm->cutghostuser = std::max(users_cutoff_, reach_.layers * reach_.cutoff + neighbor->skin);
}

void PairUnified::compute(int eflag, int vflag) {
  ev_init(eflag, vflag);
  const int absent = absent_atoms(pairwise_);
  exchange_.begin_step(neighbors_, reach_.cutoff);
  const std::string failure = failure_of([&] {
    neighbors_.build(*list, element_of_, absent, reach_);
    zero_results();
    call_model(eflag, vflag);
    check_results();
  });
  exchange_.finish_step(failure);
  add_results();
  if (vflag_fdotr)
    virial_fdotr_compute();
}

void PairUnified::zero_results() {
  atom_energies_.reserve(neighbors_.own());
  forces_.reserve(neighbors_.atoms());
  std::fill_n(atom_energies_.data(), neighbors_.own(), 0.0);
  std::fill_n(forces_.data(), 3 * std::ptrdiff_t(neighbors_.atoms()), 0.0);
  // Without newton LAMMPS has zeroed, and reads, no more than the own atoms' virials.
  if (vflag_atom && !force->newton_pair && atom->nghost)
    std::fill_n(vatom[atom->nlocal], 6 * std::ptrdiff_t(atom->nghost), 0.0);
}

void PairUnified::call_model(int eflag, int vflag) {
  const ModelLink link(this);
  const int atoms = neighbors_.atoms(), own = neighbors_.own();
  const int centres = neighbors_.centres(), pairs = neighbors_.pairs();
  const std::array<PyRef, 14> arguments = {checked(PyLong_FromLong(eflag)),
                                           checked(PyLong_FromLong(vflag)),
                                           checked(PyLong_FromLong(own)),
                                           neighbors_.elements.rows(atoms),
                                           neighbors_.tags.rows(atoms),
                                           neighbors_.centre_atoms.rows(centres),
                                           neighbors_.centre_elements.rows(centres),
                                           neighbors_.centre_pairs.rows(centres),
                                           neighbors_.pair_i.rows(pairs),
                                           neighbors_.pair_j.rows(pairs),
                                           neighbors_.pair_elements.rows(pairs),
                                           neighbors_.vectors.rows(pairs),
                                           atom_energies_.rows(own),
                                           forces_.rows(atoms)};
  std::array<PyObject *, 16> stack = {model_.get(), link.get()};
  std::transform(arguments.begin(), arguments.end(), stack.begin() + 2, [](const PyRef &item) { return item.get(); });
  static PyObject *method = checked(PyUnicode_InternFromString("compute")).release();
  const PyRef energy = checked(PyObject_VectorcallMethod(method, stack.data(), stack.size(), nullptr));
  energy_ = PyFloat_AsDouble(energy.get());
  if (PyErr_Occurred())
    throw PythonError();
}

void PairUnified::check_results() const {
  const auto complain = [this](const char *what, int row) {
    throw std::runtime_error(not_finite(what, neighbors_.tags.data()[row], neighbors_.elements.data()[row]));
  };
  for (int row = 0; row < neighbors_.own(); ++row)
    if (!std::isfinite(atom_energies_.data()[row]))
      complain("the energy", row);
  for (int row = 0; row < neighbors_.atoms(); ++row) {
    const double *force = forces_.data() + 3 * std::ptrdiff_t(row);
    if (!std::isfinite(force[0] + force[1] + force[2]))
      complain("the force", row);
  }
  if (!std::isfinite(energy_))
    throw std::runtime_error("the energy of the model in " + file_ + " is not a finite number");
}

void PairUnified::add_results() {
  if (!force->newton_pair) {
    exchange_.perform(Turn::reverse, {forces_.data(), 3, false, neighbors_.row_of().data()});
    if (vflag_atom)
      exchange_.perform(Turn::reverse, {vatom[0], 6});
  }
  const std::vector<int> &atom_of = neighbors_.atom_of();
  for (int row = 0; row < (force->newton_pair ? neighbors_.atoms() : neighbors_.own()); ++row)
    for (int axis = 0; axis < 3; ++axis)
      atom->f[atom_of[row]][axis] += forces_.data()[3 * std::ptrdiff_t(row) + axis];
  if (eflag_global)
    eng_vdwl += energy_;
  if (eflag_atom)
    for (int row = 0; row < neighbors_.own(); ++row)
      eatom[atom_of[row]] += atom_energies_.data()[row];
}

// Sums run in the order of LAMMPS' own style, so that all digits are the same.
double PairUnified::add_pair_energies(const double *energies) {
  double total = 0.0;
  std::fill_n(atom_energies_.data(), neighbors_.own(), 0.0);
  for (int pair = 0; pair < neighbors_.pairs(); ++pair) {
    const int i = neighbors_.pair_i.data()[pair];
    if (i >= neighbors_.own())
      continue;
    const double half = 0.5 * energies[pair];
    atom_energies_.data()[i] += half;
    total += half;
  }
  return total;
}

void PairUnified::add_pair_forces(const double *forces) {
  const int *pair_i = neighbors_.pair_i.data(), *pair_j = neighbors_.pair_j.data();
  double *sums = forces_.data();
  for (int pair = 0; pair < neighbors_.pairs(); ++pair) {
    const double *force = forces + 3 * std::ptrdiff_t(pair);
    double *on_i = sums + 3 * std::ptrdiff_t(pair_i[pair]), *on_j = sums + 3 * std::ptrdiff_t(pair_j[pair]);
    for (int axis = 0; axis < 3; ++axis) {
      on_i[axis] += force[axis];
      on_j[axis] -= force[axis];
    }
    if (vflag_either)
      tally_virial(pair, force);
  }
}

void PairUnified::tally_virial(int pair, const double *force) {
  const double *vector = neighbors_.vectors.data() + 3 * std::ptrdiff_t(pair);
  const double products[] = {-vector[0] * force[0], -vector[1] * force[1], -vector[2] * force[2],
                             -vector[0] * force[1], -vector[0] * force[2], -vector[1] * force[2]};
  if (vflag_global)
    for (int component = 0; component < 6; ++component)
      virial[component] += products[component];
  if (!vflag_atom)
    return;
  for (const int row : {neighbors_.pair_i.data()[pair], neighbors_.pair_j.data()[pair]})
    for (int component = 0; component < 6; ++component)
      vatom[neighbors_.atom_of()[row]][component] += 0.5 * products[component];
}

void PairUnified::exchange(Turn turn, void *features, int width, bool single) {
  if (turn == Turn::edges && reach_.ghosts)
    throw std::logic_error("pairs of ghosts have no reverse to exchange with");
  exchange_.take_turn(turn, {features, width, single, neighbors_.row_of().data()});
}

int PairUnified::pack_forward_comm(int count, int *atoms, double *buffer, int, int *) {
  return exchange_.pack_forward(count, atoms, buffer);
}

void PairUnified::unpack_forward_comm(int count, int first, double *buffer) {
  exchange_.unpack_forward(count, first, buffer);
}

int PairUnified::pack_reverse_comm(int count, int first, double *buffer) {
  return exchange_.pack_reverse(count, first, buffer);
}

void PairUnified::unpack_reverse_comm(int count, int *atoms, double *buffer) {
  exchange_.unpack_reverse(count, atoms, buffer);
}

double PairUnified::memory_usage() {
  return Pair::memory_usage() + neighbors_.bytes() + atom_energies_.bytes() + forces_.bytes();
}

}    // namespace fitsnap_nn
