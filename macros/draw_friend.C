/// Draws a tree with pidlab's friend beside it: the score of the selected events and of those that a decision keeps,
/// and a variable of the input before and after that decision.
///
///     root -l -b -q 'draw_friend.C("shms.root", "T", "friends/shms_pid.root", "mlp", "mlp.pdf", "P.gtr.p", "eff90")'
///
/// input, tree    the file that was scored and its tree; neither is changed
/// friendFile     what pidlab wrote for it; the tree in it is called TREE_pid
/// model          a model's name: its score is pid_MODEL, its decisions pid_MODEL_eff90 and so on
/// out            a PDF of two pages
/// spectator      what to draw of the input, a branch or expression; left out: its first branch of floating numbers
/// workingPoint   which decision; left out: the model's first
///
/// Prints how many entries were selected and kept, and returns the number kept; -1 where something is missing.

#include <TBranch.h>
#include <TCanvas.h>
#include <TFile.h>
#include <TH1.h>
#include <TLeaf.h>
#include <TROOT.h>
#include <TString.h>
#include <TStyle.h>
#include <TTree.h>

#include <cstdio>
#include <memory>

namespace pidlab_draw_friend {

/// The first branch of the tree that holds floating numbers, one an entry.
TString firstNumber(TTree* tree)
{
   for (TObject* object : *tree->GetListOfLeaves()) {
      auto* leaf = static_cast<TLeaf*>(object);
      const TString type = leaf->GetTypeName();
      if ((type == "Float_t" || type == "Double_t") && leaf->GetLenStatic() == 1 && !leaf->GetLeafCount())
         return leaf->GetBranch()->GetName();
   }
   return "";
}

/// The first branch called PREFIX… that holds booleans.
TString firstDecision(TTree* friendTree, const TString& prefix)
{
   for (TObject* object : *friendTree->GetListOfLeaves()) {
      auto* leaf = static_cast<TLeaf*>(object);
      if (TString(leaf->GetTypeName()) == "Bool_t" && TString(leaf->GetName()).BeginsWith(prefix)) return leaf->GetName();
   }
   return "";
}

/// One page: `what` for the entries that pass `before`, and over it for those that pass `after`. Returns the latter.
Long64_t page(TTree* tree, const TString& what, const TString& before, const TString& after, TCanvas& canvas, const char* out)
{
   tree->SetLineColor(kBlack);
   const Long64_t n = tree->Draw(what + ">>pidlab_before", before);
   auto* first = dynamic_cast<TH1*>(gROOT->FindObject("pidlab_before"));
   if (n <= 0 || !first) return n < 0 ? -1 : 0;
   first->SetTitle(what + ";" + what + ";entries");
   std::unique_ptr<TH1> second(static_cast<TH1*>(first->Clone("pidlab_after")));
   second->Reset();
   second->SetDirectory(gROOT);
   tree->SetLineColor(kRed + 1); // TTree::Draw gives the histogram the tree's colour
   const Long64_t kept = tree->Draw(what + ">>+pidlab_after", after, "SAME");
   canvas.Print(out);
   second->SetDirectory(nullptr);
   canvas.Clear();
   return kept;
}

} // namespace pidlab_draw_friend

Long64_t draw_friend(const char* input, const char* tree, const char* friendFile, const char* model, const char* out,
                     const char* spectator = "", const char* workingPoint = "")
{
   using namespace pidlab_draw_friend;
   gROOT->SetBatch(true);
   gStyle->SetOptStat(0);
   std::unique_ptr<TFile> file(TFile::Open(input));
   TTree* events = file && !file->IsZombie() ? file->Get<TTree>(tree) : nullptr;
   if (!events) {
      fprintf(stderr, "draw_friend: %s holds no tree %s\n", input, tree);
      return -1;
   }
   TString friendName = TString(tree) + "_pid";
   friendName.Remove(0, friendName.Last('/') + 1);
   const TFriendElement* added = events->AddFriend(friendName, friendFile);
   TTree* scores = added ? const_cast<TFriendElement*>(added)->GetTree() : nullptr;
   const TString score = TString("pid_") + model;
   if (!scores || !scores->GetBranch(score)) {
      fprintf(stderr, "draw_friend: %s holds no tree %s with a branch %s\n", friendFile, friendName.Data(), score.Data());
      return -1;
   }
   const TString decision = TString(workingPoint) == "" ? firstDecision(scores, score + "_") : score + "_" + workingPoint;
   const TString variable = TString(spectator) == "" ? firstNumber(events) : TString(spectator);
   if (!scores->GetBranch(decision) || variable == "") {
      fprintf(stderr, "draw_friend: no decision %s of %s, or nothing in %s to draw\n", decision.Data(), model, input);
      return -1;
   }
   TCanvas canvas("draw_friend", "friend", 800, 600);
   canvas.Print(TString(out) + "[");
   const Long64_t kept = page(events, score, "pid_selected", decision, canvas, out);
   page(events, variable, "pid_selected", decision, canvas, out);
   canvas.Print(TString(out) + "]");
   printf("draw_friend: %s of %lld entries, %lld selected, %lld kept by %s; %s\n", score.Data(), events->GetEntries(),
          events->GetEntries("pid_selected"), kept, decision.Data(), variable.Data());
   return kept;
}
