"""Forms about models and what is sampled from them."""

from collections.abc import Collection
from typing import Any

from django import forms

from labelapp.accounts.forms import WordListField
from labelapp.errors import DomainError
from labelapp.generation.model_versions import LOCATION_LIMIT, NAME_LIMIT, location_read
from labelapp.generation.option_fields import OptionText, option_formfield, option_problems, options_of_command
from labelapp.generation.sampling import MOST_PROMPTS, SampleChoice
from labelapp.generation.selectors import KIND, models_sampleable
from labelapp.models import ModelVersion, Project, Prompt, User

FIRST = ("temperature", "top_p", "max_tokens", "seed")
"""The options that most people look at; the rest stands under “More options”."""
PER_MODEL = "n"


class TagListField(WordListField):
    """Tags as they were imported, with their capitals."""

    def read(self, word: str) -> str:
        """Check the word, and leave it as it is."""
        super().read(word)
        return word


class ModelForm(forms.Form):
    """A base model, by where it lies."""

    name = forms.CharField(max_length=NAME_LIMIT, help_text="Completions that it writes carry this name.")
    location = forms.CharField(
        label="Folder or hub id",
        max_length=LOCATION_LIMIT,
        help_text="A folder on the server with a config.json, as Hugging Face's save_pretrained writes it, "
        "or the id of a model of its hub, as in organisation/model.",
    )

    def __init__(self, *args: Any, actor: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.actor = actor

    def clean_location(self) -> str:
        """A place where there is a model."""
        try:
            return location_read(self.cleaned_data["location"], actor=self.actor)
        except DomainError as error:
            raise forms.ValidationError(error.message) from error


class SamplingForm(forms.Form):
    """Which models answer which prompts, and how."""

    split = forms.ChoiceField(required=False, choices=[("", "All splits"), *Prompt.Split.choices])
    source = forms.CharField(required=False, max_length=200, help_text="Only prompts of this source.")
    tags = TagListField(required=False, help_text="Only prompts with all of these tags. Separate with commas.")
    limit = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MOST_PROMPTS,
        help_text="At most this many prompts, drawn at random. Empty takes all.",
    )
    unsampled = forms.BooleanField(
        required=False, label="Leave out, for each model, the prompts that it has answered before"
    )

    def __init__(
        self, *args: Any, project: Project, seed: int = 0, chosen: Collection[int] = (), **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.models = list(models_sampleable(project))
        options = options_of_command(KIND)
        for option in options:
            self.fields[option.name] = option_formfield(option)
        self.fields["seed"].initial = seed
        number = self.fields.pop(PER_MODEL)
        for model in self.models:
            self.fields[_field_of(model)] = OptionText(
                label=model.name,
                help_text=model.get_kind_display(),
                initial=number.initial if model.pk in (chosen or [self.models[0].pk]) else "",
                widget=forms.NumberInput(number.widget.attrs),
            )
        self.option_names = [option.name for option in options if option.name != PER_MODEL]

    @property
    def model_fields(self) -> list[forms.BoundField]:
        """How many completions each model writes for a prompt."""
        return [self[_field_of(model)] for model in self.models]

    @property
    def prompt_rows(self) -> list[list[forms.BoundField]]:
        """Which prompts are answered."""
        return [[self[name] for name in row] for row in (["split", "source"], ["tags", "limit"])]

    @property
    def first_options(self) -> list[forms.BoundField]:
        """The options that most people look at."""
        return [self[name] for name in FIRST]

    @property
    def more_options(self) -> list[forms.BoundField]:
        """All others."""
        return [self[name] for name in self.option_names if name not in FIRST]

    @property
    def more_open(self) -> bool:
        """Whether one of the others has an error, which must not hide."""
        return any(field.errors for field in self.more_options)

    def clean(self) -> dict[str, Any]:
        """Have the trainer's own rules check the options, and ask for one model at least."""
        data = super().clean() or self.cleaned_data
        for name, problem in option_problems(KIND, self.options()).items():
            self.add_error(name if name in self.fields else None, problem)
        written = {model.pk: data.get(_field_of(model), "").strip() for model in self.models}
        for model in self.models:
            if written[model.pk] and (problems := option_problems(KIND, {PER_MODEL: written[model.pk]})):
                self.add_error(_field_of(model), problems[PER_MODEL])
        if self.models and not any(written.values()):
            self.add_error(None, "No model is chosen. Say how many completions at least one of them writes per prompt.")
        return data

    def options(self) -> dict[str, str]:
        """The options that were filled in; an empty one has its default."""
        given = {name: self.cleaned_data.get(name, "") for name in self.option_names}
        return {name: value for name, value in given.items() if value.strip()}

    def asked(self) -> dict[ModelVersion, int]:
        """The chosen models with their completions per prompt."""
        written = {model: self.cleaned_data[_field_of(model)].strip() for model in self.models}
        return {model: int(number) for model, number in written.items() if number}

    def choice(self) -> SampleChoice:
        """Which prompts the form chooses."""
        names = ("split", "source", "tags", "limit", "unsampled")
        return SampleChoice(**{name: self.cleaned_data[name] for name in names})


def _field_of(model: ModelVersion) -> str:
    return f"{PER_MODEL}_{model.pk}"
