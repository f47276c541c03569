from django.urls import path

from accounts.web import path_converters  # noqa: F401  # registers <id:…>
from providers.api import views

urlpatterns = [
    path("credentials", views.Credentials.as_view()),
    path("credentials/<id:id>", views.OneCredential.as_view(), name="credential"),
    path("credentials/<id:id>/verify", views.Verify.as_view()),
    path("providers/<str:provider>/dictionaries/<str:name>", views.Dictionary.as_view()),
]
